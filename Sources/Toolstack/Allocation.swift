import Codecs
import SaveDisk
import SystemIO
import Transfer

/// What a new header says beside its random transfer id.
public struct HeaderOptions: Sendable {
  public var direction = Direction.save
  public var chunkBytes: UInt32 = 262_144
  public var allowedCodecs = ChunkCodec.supported
  /// Most raw bytes of all streams together; 0 states no limit.
  public var maxRawBytes = ReaderLimits.defaultStateBytes

  public init() {}

  func header(capacityBytes: UInt64) throws(SystemError) -> DiskHeader {
    var header = DiskHeader()
    header.direction = direction
    header.chunkBytes = chunkBytes
    header.allowedCodecs = allowedCodecs
    header.maxRawBytes = maxRawBytes
    header.capacityBytes = capacityBytes
    let (first, last) = try Randomness.words()
    header.transferID = Bytes16(first: first, last: last)
    return header
  }
}

/// A disk that has been allocated.
public struct AllocatedDisk: Sendable {
  public let header: DiskHeader
}

extension DiskCommands {
  /// `allocate`: a plain file of fixed size, all zeros but for its header, on stable storage.
  ///
  /// - Parameters:
  ///   - capacityBytes: a multiple of 4096, at least 8192.
  ///   - isReplacing: an existing regular file is replaced.
  public static func allocate(
    _ path: SystemPath, capacityBytes: UInt64, options: HeaderOptions, isReplacing: Bool
  ) throws(ToolError) -> AllocatedDisk {
    guard capacityBytes != 0 && DiskHeader.isCapacity(capacityBytes) else {
      throw ToolError(.usage, path) {
        $0.append("a disk's size must be a multiple of 4096 bytes and at least 8192, not ")
        $0.append(capacityBytes)
      }
    }
    try requireName(path)
    switch try existing(path) {
    case nil:
      if try isDanglingLink(path), !isReplacing { throw wouldDestroy(path) }
    case .regular? where isReplacing: break
    case .regular?: throw wouldDestroy(path)
    case .blockDevice?:
      throw ToolError(.unsupported, path) {
        $0.append("a block device; this version allocates plain files only")
      }
    default:
      throw ToolError(.unsupported, path) { $0.append("neither a plain file nor a new one") }
    }
    return try attempt(path) { () throws(SystemError) in
      let header = try options.header(capacityBytes: capacityBytes)
      var file = try NewFile(for: path)
      // Reserved now, so that no write of the stubdomain can fail for want of space in dom0.
      try file.descriptor.preallocate(bytes: capacityBytes)
      var block = AlignedBuffer(byteCount: Layout.blockBytes)
      var bytes = block.mutableBytes(0..<Layout.blockBytes)
      header.encode(into: &bytes)
      try file.descriptor.writeAll(block.bytes(0..<Layout.blockBytes), at: 0)
      try file.publish(isReplacing: isReplacing)
      return AllocatedDisk(header: header)
    }
  }
}
