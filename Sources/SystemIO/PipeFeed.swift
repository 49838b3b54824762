import CSystem

/// A pipe that is filled from a file as fast as somebody else reads it, so that who cannot open the
/// file gets all of it in order, and sees its end.
///
/// Never waits by itself, but for `wait`, which has a deadline. Writing needs SIGPIPE to be ignored
/// (`SignalsAsErrors.ofPipes`): a reader who has gone ends the feeding, and that is no error.
public struct PipeFeed: ~Copyable {
  private let source: Int32
  /// Of the file.
  public let bytes: UInt64
  /// What has been put into the pipe.
  public private(set) var done: UInt64 = 0
  private var reader: FileDescriptor?
  /// Nil once all is in the pipe, or nobody reads it.
  private var writer: FileDescriptor?

  private static let pieceBytes = 65_536
  /// What a pipe holds that nobody has enlarged (pipe(7)).
  private static let usualPipeBytes: UInt64 = 65_536
  /// What it is enlarged to at most: several times the largest device state that has been seen. The
  /// kernel wants one piece of memory, of 40 bytes for a page, for each pipe.
  private static let maxPipeBytes: UInt64 = 4 << 20

  /// Nothing to feed.
  public init() {
    source = -1
    bytes = 0
  }

  /// - Parameters:
  ///   - file: of at least so many bytes; stays its owner's, and has to be open for as long.
  public init(of file: borrowing FileDescriptor, bytes: UInt64) throws(SystemError) {
    let (reading, writing) = try Syscalls.blockingPipe()
    let reader = FileDescriptor(owning: reading)
    let writer = FileDescriptor(owning: writing)
    try Syscalls.setNonBlocking(writing, true)
    PipeFeed.enlarge(writing, toHold: bytes)
    source = file.number
    self.bytes = bytes
    self.reader = consume reader
    self.writer = consume writer
    // An empty file ends at once.
    if bytes == 0 { self.writer = nil }
  }

  /// As far as the system lets it: with less the reader is woken more often, and that is all.
  private static func enlarge(_ pipe: Int32, toHold bytes: UInt64) {
    var wanted = min(bytes, maxPipeBytes)
    while wanted > usualPipeBytes {
      // /proc/sys/fs/pipe-max-size, by default 1 MiB, is the limit without CAP_SYS_RESOURCE.
      if (try? Syscalls.setPipeBytes(pipe, wanted)) != nil { return }
      wanted /= 2
    }
  }

  /// The end for the reader; nil once it has been given away.
  public var readerNumber: Int32? {
    switch reader {
    case .some(let reader): reader.number
    case .none: nil
    }
  }

  /// Closes this process's copy of that end. That the reader goes is seen only after it.
  public mutating func closeReader() { reader = nil }

  /// Hands that end over.
  public mutating func takeReader() -> FileDescriptor? { reader.take() }

  /// To be waited for, as writable; nil once there is no more to do.
  public var writerNumber: Int32? {
    switch writer {
    case .some(let writer): writer.number
    case .none: nil
    }
  }

  /// Puts into the pipe what it holds now.
  public mutating func fill() throws(SystemError) {
    while try step() {}
  }

  /// Puts one piece into the pipe; false if there is no room now, or no more to do.
  private mutating func step() throws(SystemError) -> Bool {
    guard let number = writerNumber else { return false }
    let file = FileDescriptor(borrowing: source)
    let offset = done
    var buffer = AlignedBuffer(byteCount: PipeFeed.pieceBytes)
    var piece = buffer.mutableBytes(0..<Int(min(bytes - done, UInt64(PipeFeed.pieceBytes))))
    let count = try file.read(into: &piece, from: 0, at: offset)
    if count == 0 { throw SystemError(.pread, errno: Errno.ioError) }
    do throws(SystemError) {
      let written = try FileDescriptor(borrowing: number).writeSome(buffer.bytes(0..<count))
      done += UInt64(written)
    } catch {
      switch error.errno {
      case Errno.wouldBlock: return false
      // Nobody wants the rest.
      case Errno.brokenPipe: break
      default: throw error
      }
      writer = nil
      return false
    }
    // The reader sees the end.
    if done == bytes { writer = nil }
    return true
  }

  /// Has a process of its own feed the rest (`stubsave_fork_apart`). It has nothing open but the
  /// file, the pipe and standard error, and ends once all is in the pipe, the reader has gone, or
  /// the time is over, which it says.
  ///
  /// - Parameter late: what it says then.
  public mutating func feedApart(
    milliseconds: UInt64, late: (_ done: UInt64) -> [UInt8]
  ) throws(SystemError) {
    guard let number = writerNumber else { return }
    guard try Syscalls.forkApart(keeping: [2, source, number]) else {
      writer = nil
      return
    }
    // What else was open here has been closed, whoever thinks to own it: nothing is cleaned up.
    let deadline = Deadline(timeoutMilliseconds: milliseconds)
    let readiness = try? wait(for: nil, toWrite: true, until: deadline, signals: nil)
    if readiness != .ready {
      try? unsafe FileDescriptor(borrowing: 2).writeAll(late(done).span.bytes)
    }
    stubsave_end_now(readiness == .ready ? 0 : 1)
  }

  /// Feeds until `number` is ready, or, if that is nil, until there is no more to do.
  ///
  /// - Parameters:
  ///   - number: for what poll(2) knows; as readable, or as writable if `toWrite`.
  ///   - signals: the number of `EndingSignals`.
  public mutating func wait(
    for number: Int32?, toWrite: Bool, until deadline: Deadline, signals: Int32?
  ) throws(SystemError) -> UnixSocket.Readiness {
    var time = WaitTime(until: deadline, isForReply: number != nil)
    while number != nil || writerNumber != nil {
      var entries = [
        pollfd(fd: number ?? -1, events: Int16(toWrite ? POLLOUT : POLLIN), revents: 0),
        pollfd(fd: signals ?? -1, events: Int16(POLLIN), revents: 0),
        // A reader who goes is told even of a pipe that is full (POLLERR).
        pollfd(fd: writerNumber ?? -1, events: Int16(POLLOUT), revents: 0),
      ]
      try Syscalls.poll(&entries, timeoutMilliseconds: time.leftMilliseconds)
      if entries[1].revents != 0 { return .interrupted }
      if entries[0].revents != 0 { return .ready }
      if entries[2].revents != 0 { _ = try step() }
      if !time.goOn() { return .timedOut }
    }
    return .ready
  }
}
