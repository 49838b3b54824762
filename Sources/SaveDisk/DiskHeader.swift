/// Which way a save disk carries state. Binds those who attach it to a domain.
public enum Direction: UInt32, Sendable, BitwiseCopyable {
  /// From the stubdomain to dom0.
  case save = 1
  /// From dom0 to the stubdomain.
  case restore = 2
}

/// Block 0: what the allocator says of the disk (formats/save-disk.md, section 4).
public struct DiskHeader: Equatable, Sendable, BitwiseCopyable {
  public static let domidNotStated = UInt32.max

  public var direction = Direction.save
  /// Raw bytes of a full chunk.
  public var chunkBytes: UInt32 = 65_536
  public var transferID = Bytes16.zero
  /// Size of the disk in bytes; 0 if it grows.
  public var capacityBytes: UInt64 = 0
  /// Most raw bytes of all streams together; 0 if no limit is stated.
  public var maxRawBytes: UInt64 = 0
  public var allowedCodecs = CodecSet(.none, .zeros, .lz4, .zlib)
  public var maxStreams = UInt32(FormatLimits.maxStreams)
  public var recipientDomid = DiskHeader.domidNotStated
  public var targetDomid = DiskHeader.domidNotStated
  public var targetUUID = Bytes16.zero
  /// Features that a reader need not know; this version gives none of the bits a meaning.
  public var compatibleFeatures: UInt32 = 0

  public init() {}

  /// Seeds the record hashes, so that a record of one transfer is invalid in another.
  public var transferSeed: UInt64 { transferID.first ^ transferID.last }
}
