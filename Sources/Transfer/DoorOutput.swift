import SaveDisk
import SystemIO

/// Where the door's bytes go: one descriptor, or a small one that overflows into a larger one.
///
/// The second is for what is held back until all is verified: in memory while it is small, then
/// in an unlinked file.
public struct DoorOutput: ~Copyable {
  let first: FileDescriptor
  let overflow: FileDescriptor?
  let firstMaxBytes: UInt64

  /// - Parameter descriptor: written from its current offset on.
  public init(_ descriptor: consuming FileDescriptor) {
    first = descriptor
    overflow = nil
    firstMaxBytes = .max
  }

  /// - Parameters:
  ///   - memory: takes up to `maxBytes`; must be empty, and seekable.
  ///   - overflow: takes everything if there is more; must be empty. Without one, more is an
  ///     error (ENOSPC).
  public init(
    memory: consuming FileDescriptor, maxBytes: UInt64, overflow: consuming FileDescriptor?
  ) {
    first = memory
    self.overflow = consume overflow
    firstMaxBytes = maxBytes
  }

  /// For a task that writes nothing.
  public static var nowhere: DoorOutput { DoorOutput(FileDescriptor(borrowing: -1)) }

  /// The file that holds what the door has written; owned by this, at whatever offset.
  public borrowing func file(_ verdict: DoorVerdict) -> FileDescriptor {
    file(isInOverflow: verdict.isInOverflow)
  }

  public borrowing func file(isInOverflow: Bool) -> FileDescriptor {
    FileDescriptor(borrowing: isInOverflow ? overflowNumber ?? first.number : first.number)
  }

  /// For a process that is to write what the door would have written: -1 is none.
  public var firstNumber: Int32 { first.number }
  /// Nil if there is none.
  public var overflowNumber: Int32? {
    switch overflow {
    case .some(let descriptor): descriptor.number
    case .none: nil
    }
  }
  /// What goes to the first at most; nil if there is no limit but the task's.
  public var maxFirstBytes: UInt64? { firstMaxBytes == .max ? nil : firstMaxBytes }

  /// Copies what the door has written to where `target` stands.
  public borrowing func copy(
    _ verdict: DoorVerdict, to target: borrowing FileDescriptor
  ) throws(SystemError) {
    try file(verdict).copy(bytes: verdict.outputBytes, to: target)
  }
}

/// How much has been written, and where it is.
public struct OutputPosition: Sendable, BitwiseCopyable {
  public var bytes: UInt64 = 0
  public var isInOverflow = false

  public init() {}
}

/// Writes to a `DoorOutput` that somebody else owns and keeps open meanwhile.
public struct DoorWriter {
  private let first: Int32
  private let overflow: Int32?
  private let firstMaxBytes: UInt64
  public private(set) var position: OutputPosition

  /// - Parameter position: what has been written already.
  public init(_ output: borrowing DoorOutput, behind position: OutputPosition = OutputPosition()) {
    self.position = position
    first = output.first.number
    overflow = output.overflowNumber
    firstMaxBytes = output.firstMaxBytes
  }

  public mutating func write(_ bytes: RawSpan) throws(SystemError) {
    let sum = position.bytes + UInt64(bytes.byteCount)
    if sum > firstMaxBytes && !position.isInOverflow { try moveToOverflow() }
    let target = position.isInOverflow ? overflow ?? first : first
    try FileDescriptor(borrowing: target).writeAll(bytes)
    position.bytes = sum
  }

  private mutating func moveToOverflow() throws(SystemError) {
    guard let overflow else { throw SystemError(.write, errno: Errno.noSpace) }
    try FileDescriptor(borrowing: first).copy(
      bytes: position.bytes, to: FileDescriptor(borrowing: overflow))
    position.isInOverflow = true
  }
}
