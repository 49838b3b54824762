import CXenVchan
import SystemIO

/// What both ends of a vchan have in common: libxenvchan's handle, which never waits here, and how
/// often the other side may wake this one.
///
/// The page of the rings is the other side's as well, and stays so. What libxenvchan (4.17 to 4.22, io.c) makes
/// of it: each index is loaded once for a transfer; what is ready is at most the size of a ring,
/// which it keeps a copy of; an index is masked before it becomes an address. So a peer that lies can say what it
/// likes, and as much, but reach no other memory. What is not there is added here: indices that
/// cannot be are an error instead of a ring that is silent for ever, and notifications that bring
/// nothing are taken at a bounded rate.
@safe public struct VchanEnd: ~Copyable {
  private let handle: UnsafeMutablePointer<libxenvchan>
  private var pace = VchanPace()

  /// - Parameter open: gives libxenvchan's handle for a path, or nil and an errno.
  @unsafe init(
    _ path: SystemPath,
    _ open: (UnsafePointer<CChar>) -> UnsafeMutablePointer<libxenvchan>?
  ) throws(VchanError) {
    stubsave_vchan_forget_errno()
    let bytes = [UInt8](path.bytes) + [0]
    let opened = unsafe bytes.withUnsafeBytes {
      unsafe open($0.baseAddress!.assumingMemoryBound(to: CChar.self))
    }
    guard let handle = unsafe opened else {
      let code = stubsave_vchan_errno()
      throw .cannotOpen(SystemError(.open, errno: code == 0 ? Errno.noEntry : code))
    }
    unsafe stubsave_vchan_prepare(handle)
    unsafe self.handle = handle
  }

  /// Says so to the other side, and gives the pages and the event channel back.
  deinit { unsafe libxenvchan_close(handle) }

  /// To be waited for: readable when the other side has notified. Nil for a moment while it does so
  /// without an end, until `restDeadline`.
  var number: Int32? { isResting ? nil : unsafe libxenvchan_fd_for_select(handle) }
  var restDeadline: Deadline? { pace.rest }
  var isResting: Bool { pace.isResting }

  /// Once `number` is readable; before anything else is looked at.
  mutating func takeEvent() throws(VchanError) {
    pace.woken()
    guard unsafe libxenvchan_wait(handle) == 0 else { throw .closed }
  }

  /// Both ask the other side to notify when that changes; what they say may be a lie of its.
  var hasBytes: Bool { unsafe libxenvchan_data_ready(handle) > 0 }
  var hasRoom: Bool { unsafe libxenvchan_buffer_space(handle) > 0 }

  /// What is there, at most what fits behind `start`.
  ///
  /// - Returns: how many bytes; 0 if there is nothing now.
  mutating func read(
    into buffer: inout MutableRawSpan, from start: Int
  ) throws(VchanError) -> Int {
    precondition(start >= 0 && start <= buffer.byteCount)
    let room = buffer.byteCount - start
    if room == 0 { return 0 }
    let count = unsafe buffer.withUnsafeMutableBytes { bytes in
      Int(unsafe libxenvchan_read(handle, bytes.baseAddress! + start, room))
    }
    try check(count, atMost: room)
    return count
  }

  /// Writes what fits.
  ///
  /// - Returns: how many bytes; 0 if the ring is full.
  mutating func write(_ bytes: RawSpan) throws(VchanError) -> Int {
    if bytes.isEmpty { return 0 }
    let count = unsafe bytes.withUnsafeBytes { bytes in
      Int(unsafe libxenvchan_write(handle, bytes.baseAddress!, bytes.count))
    }
    try check(count, atMost: bytes.byteCount)
    return count
  }

  private mutating func check(_ count: Int, atMost most: Int) throws(VchanError) {
    if count < 0 { throw .closed }
    if count > most { throw .nonsense }
    if count > 0 { pace.moved() } else { try check() }
  }

  // MARK: What libxenvchan has no function for

  var isServerLive: Bool { unsafe stubsave_vchan_server_live(handle) == 1 }
  var isClientLive: Bool { unsafe stubsave_vchan_client_live(handle) == 1 }

  /// - Returns: whether no client has begun since the last time.
  mutating func markClient() -> Bool {
    unsafe Int(stubsave_vchan_mark_client(handle)) & Int(stubsave_vchan_mark) != 0
  }

  /// The first time: of a server that has not written yet.
  ///
  /// - Returns: whether no client has begun so far. One that has asks for notifications.
  mutating func markNewServer() -> Bool {
    unsafe Int32(stubsave_vchan_mark_client(handle)) & VCHAN_NOTIFY_WRITE == 0
  }

  /// A client has begun.
  mutating func began() { pace.began() }

  /// Drops what can be read now.
  mutating func drop() throws(VchanError) {
    var scrap = AlignedBuffer(byteCount: 4096)
    var room = scrap.mutableBytes(0..<scrap.byteCount)
    // Not more than is there now: the next client may be writing already.
    var left = Int(unsafe libxenvchan_data_ready(handle))
    while left > 0 {
      let count = try read(into: &room, from: 0)
      if count == 0 { break }
      left -= count
    }
    try check()
  }

  /// Takes back what the other side has not read; it must not be there.
  mutating func takeBack() throws(VchanError) {
    unsafe stubsave_vchan_take_back(handle)
    try check()
  }

  private func check() throws(VchanError) {
    if unsafe stubsave_vchan_is_whole(handle) == 0 { throw .nonsense }
  }
}
