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
  /// The size of a disk of whose state nothing is known: device states take up 8 KiB to 1.2 MB.
  public static let defaultCapacityBytes: UInt64 = 4 << 20

  /// `allocate`: a plain file of fixed size, or a block device, all zeros but for its header, on
  /// stable storage.
  ///
  /// - Parameters:
  ///   - capacityBytes: a multiple of 4096, at least 8192; nil is all of a device, 4 MiB of a file.
  ///   - isReplacing: an existing regular file is replaced, what a device holds overwritten.
  public static func allocate(
    _ path: SystemPath, capacityBytes: UInt64?, options: HeaderOptions, isReplacing: Bool
  ) throws(ToolError) -> AllocatedDisk {
    if let capacityBytes { try requireCapacity(capacityBytes, path) }
    try requireName(path)
    switch try existing(path) {
    case nil:
      if try isDanglingLink(path), !isReplacing { throw wouldDestroy(path) }
    case .regular? where isReplacing:
      try requireOrdinary(path)
      try ReplacedFile(path).end()
    case .regular?: throw wouldDestroy(path)
    case .blockDevice?:
      let device = try GivenDevice(path)
      try device.requireUnused(isForced: isReplacing)
      return AllocatedDisk(
        header: try device.allocate(
          options, capacityBytes: capacityBytes ?? device.wholeCapacityBytes))
    default:
      throw ToolError(.unsupported, path) {
        $0.append("neither a plain file nor a block device nor a new name")
      }
    }
    let bytes = capacityBytes ?? defaultCapacityBytes
    let header = try attempt(path) { () throws(SystemError) in
      try options.header(capacityBytes: bytes)
    }
    var file = try attempt(path) { () throws(SystemError) in
      let file = try NewFile(for: path)
      // Reserved now, so that no write of the stubdomain can fail for want of space in dom0.
      try file.descriptor.preallocate(bytes: bytes)
      try file.descriptor.write(header)
      return file
    }
    try file.publishUnlessInUse(replacing: isReplacing ? .regularFile : .nothing)
    return AllocatedDisk(header: header)
  }

  private static func requireCapacity(
    _ capacityBytes: UInt64, _ path: SystemPath
  ) throws(ToolError) {
    guard capacityBytes != 0 && DiskHeader.isCapacity(capacityBytes) else {
      throw ToolError(.usage, path) {
        $0.append("a disk's size must be a multiple of 4096 bytes and at least 8192, not ")
        $0.append(capacityBytes)
      }
    }
  }
}
