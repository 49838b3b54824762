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
    switch overflow {
    case .some(let descriptor) where verdict.isInOverflow:
      FileDescriptor(borrowing: descriptor.number)
    default: FileDescriptor(borrowing: first.number)
    }
  }

  /// Copies what the door has written to where `target` stands.
  public borrowing func copy(
    _ verdict: DoorVerdict, to target: borrowing FileDescriptor
  ) throws(SystemError) {
    try file(verdict).copy(bytes: verdict.outputBytes, to: target)
  }
}

/// How much has been written, and where it is.
struct OutputPosition {
  var bytes: UInt64 = 0
  var isInOverflow = false
}

/// Writes to a `DoorOutput` that somebody else owns and keeps open meanwhile.
struct DoorWriter {
  private let first: Int32
  private let overflow: Int32?
  private let firstMaxBytes: UInt64
  private(set) var position = OutputPosition()

  init(_ output: borrowing DoorOutput) {
    first = output.first.number
    switch output.overflow {
    case .some(let descriptor): overflow = descriptor.number
    case .none: overflow = nil
    }
    firstMaxBytes = output.firstMaxBytes
  }

  mutating func write(_ bytes: RawSpan) throws(SystemError) {
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
