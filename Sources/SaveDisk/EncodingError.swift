/// Why a log can not be written on. After any of these the encoder refuses every later call but
/// `abort`.
public enum EncodingError: Error, Equatable, Sendable, BitwiseCopyable {
  /// An earlier call failed; nothing may be appended any more.
  case broken
  /// The call does not fit here: a chunk without a stream, a second begin, a full name table.
  case outOfOrder
  /// The record and the commit after it do not fit into the capacity.
  case noRoom
  /// The raw bytes exceed the header's `maxRawBytes`, given here in bytes.
  case overMaxRawBytes(UInt64)
  /// What was built did not pass the reader's own checks: a bug, or memory that does not hold.
  case selfCheck(DiskError)
}

/// Why a writer gave up, as the abort record says it. Numbers are never reused.
public enum AbortCode: UInt32, Sendable {
  case sourceFailed = 1
  case overMaxRawBytes = 2
  case overCapacity = 3
  case cancelled = 4
  case otherFailure = 5

  public var meaning: StaticString {
    switch self {
    case .sourceFailed: "the source of the state failed"
    case .overMaxRawBytes: "the state is larger than the header's limit"
    case .overCapacity: "the state does not fit into the disk"
    case .cancelled: "the writer was told to stop, or its deadline passed"
    case .otherFailure: "the writer failed"
    }
  }
}
