import SaveDisk

/// The stream `metadata` as it comes by: its first 4096 bytes, which is more than it may have.
public struct KeptMetadata: Sendable {
  public private(set) var bytes: [UInt8] = []
  private var isOpen = false

  public init() {}

  public mutating func streamBegan(_ name: StreamName) { isOpen = name == .metadata }

  public mutating func chunk(_ raw: RawSpan) {
    if !isOpen { return }
    let room = Int(FormatLimits.maxMetadataBytes) - bytes.count
    for index in 0..<min(raw.byteCount, room) { bytes.append(raw.byte(at: index)) }
  }
}

/// In a message between programs: how many of the 4096 bytes that follow count, and these.
extension KeptMetadata {
  public static let messageBytes = 8 + Int(FormatLimits.maxMetadataBytes)

  public static func encode(_ metadata: [UInt8], into bytes: inout [UInt8]) {
    bytes.append(littleEndian: UInt64(metadata.count))
    bytes += metadata
    bytes += [UInt8](repeating: 0, count: Int(FormatLimits.maxMetadataBytes) - metadata.count)
  }

  public static func parse(_ cursor: inout ByteCursor) throws(MessageError) -> [UInt8] {
    let count = Int(try cursor.bounded(FormatLimits.maxMetadataBytes))
    var metadata: [UInt8] = []
    for _ in 0..<Int(FormatLimits.maxMetadataBytes) / 4 {
      metadata.append(littleEndian: cursor.littleEndianUInt32())
    }
    return [UInt8](metadata[..<count])
  }
}
