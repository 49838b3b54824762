import CSystem

/// Moves what comes from a socket or a terminal into a pipe, for a process that cannot wait for a
/// descriptor whose flags others may change, nor open it anew.
///
/// Never waits by itself; whoever has it waits for `needs`, and then calls `step`.
public struct StreamPump: ~Copyable {
  private let source: Int32
  /// Nil once all has been moved.
  private var sink: FileDescriptor?
  /// Kept open, so that a reader who goes away is no signal: how it ended tells its owner.
  private let reading: FileDescriptor
  private var buffer = AlignedBuffer(byteCount: pieceBytes)
  private var waiting = 0..<0

  /// What a pipe holds.
  private static let pieceBytes = 65_536

  /// - Parameter source: stays its owner's.
  public init(from source: borrowing FileDescriptor) throws(SystemError) {
    let (reading, writing) = try Syscalls.blockingPipe()
    let reader = FileDescriptor(owning: reading)
    let writer = FileDescriptor(owning: writing)
    try Syscalls.setNonBlocking(writing, true)
    self.init(source.number, reader, writer)
  }

  private init(
    _ source: Int32, _ reading: consuming FileDescriptor, _ sink: consuming FileDescriptor
  ) {
    self.source = source
    self.reading = reading
    self.sink = consume sink
  }

  /// To be given to the process instead of the source.
  public var readerNumber: Int32 { reading.number }

  /// What to wait for: something to read, or room to write; nil if there is no more to do.
  var needs: (number: Int32, events: Int16)? {
    switch sink {
    case .some(let sink):
      waiting.isEmpty ? (source, Syscalls.readable) : (sink.number, Syscalls.writable)
    case .none: nil
    }
  }

  /// - Throws: what reading the source has ended in.
  mutating func step() throws(SystemError) {
    do throws(SystemError) {
      if waiting.isEmpty { try fill() } else { try drain() }
    } catch {
      guard error.errno == Errno.wouldBlock else { throw error }
    }
  }

  private mutating func fill() throws(SystemError) {
    let source = FileDescriptor(borrowing: source)
    var target = buffer.mutableBytes(0..<Self.pieceBytes)
    let count = try source.readNow(into: &target, from: 0)
    waiting = 0..<count
    // The process sees the end.
    if count == 0 { sink = nil }
  }

  private mutating func drain() throws(SystemError) {
    guard let (number, _) = needs else { return }
    let count = try FileDescriptor(borrowing: number).writeSome(buffer.bytes(waiting))
    waiting = (waiting.lowerBound + count)..<waiting.upperBound
  }
}
