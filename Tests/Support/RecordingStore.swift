import SaveDisk
import SystemIO
import Transfer

/// Remembers what a writer writes and flushes, and can fail on the Nth call.
public struct RecordingStore: DiskStore {
  public enum Event: Equatable, Sendable {
    case write(offset: Int, bytes: [UInt8])
    case flush
  }

  public private(set) var events: [Event] = []
  private var callsLeft: Int
  private let error: SystemError

  /// - Parameters:
  ///   - calls: so many succeed, every later one fails.
  public init(
    failingAfter calls: Int = .max,
    with error: SystemError = SystemError(.pwrite, errno: Errno.noSpace)
  ) {
    callsLeft = calls
    self.error = error
  }

  public mutating func write(_ bytes: RawSpan, at offset: UInt64) throws(SystemError) {
    try count()
    events.append(.write(offset: Int(offset), bytes: bytes.array))
  }

  public mutating func flush() throws(SystemError) {
    try count()
    events.append(.flush)
  }

  private mutating func count() throws(SystemError) {
    if callsLeft == 0 { throw error }
    callsLeft -= 1
  }
}
