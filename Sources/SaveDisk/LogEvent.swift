/// What a reader learns from one record that has passed every check.
public enum LogEvent: Sendable {
  /// A record of a type that this version does not know and may skip.
  case optional(RecordHeader)
  case streamBegin(index: Int, name: StreamName, flags: StreamFlags)
  /// The body is to be decoded by `RecordHeader.codec` to `RecordHeader.rawBytes` bytes.
  case chunk(RecordHeader)
  case streamEnd(StreamSummary)
  /// Nothing follows but the padding of the last block.
  case commit
}

/// One finished stream.
public struct StreamSummary: Sendable, BitwiseCopyable {
  public let index: Int
  public let name: StreamName
  public let rawBytes: UInt64
  /// Bytes of the chunks' bodies.
  public let storedBytes: UInt64
  public let chunkCount: UInt64
  /// As recorded; equal to that of the raw bytes if they were decoded.
  public let digest: Bytes16

  public init(
    index: Int, name: StreamName, rawBytes: UInt64, storedBytes: UInt64, chunkCount: UInt64,
    digest: Bytes16
  ) {
    self.index = index
    self.name = name
    self.rawBytes = rawBytes
    self.storedBytes = storedBytes
    self.chunkCount = chunkCount
    self.digest = digest
  }

  /// A place for one in a table of fixed size.
  public init() {
    self.init(
      index: 0, name: .qemu, rawBytes: 0, storedBytes: 0, chunkCount: 0, digest: .zero)
  }
}
