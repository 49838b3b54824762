import SaveDisk

/// The last 64 bytes of a state file (formats/save-disk.md, section 10).
struct StateFooter: Equatable {
  static let byteCount = 64
  /// What the footer's hash covers of it, behind the metadata.
  static let hashedBytes = 16..<56

  enum Offset {
    static let magic = 0
    static let version = 16
    static let requiredFeatures = 20
    static let stateBytes = 24
    static let metadataBytes = 32
    static let stateDigest = 40
    static let hash = 56
  }

  /// 89 "STUBTRLR" 0D 0A 1A 0A 00 00 00.
  static let magic = Bytes16(first: 0x4C52_5442_5554_5389, last: 0x0000_000A_1A0A_0D52)

  var magic = StateFooter.magic
  var version: UInt32 = 1
  var requiredFeatures: UInt32 = 0
  var stateBytes: UInt64
  var metadataBytes: UInt64
  var stateDigest: Bytes16
  /// The number; stored most significant byte first.
  var hash: UInt64 = 0

  init(stateBytes: UInt64, metadataBytes: UInt64, stateDigest: Bytes16) {
    self.stateBytes = stateBytes
    self.metadataBytes = metadataBytes
    self.stateDigest = stateDigest
  }

  /// - Parameter bytes: 64; nothing of them is checked here.
  init(parsing bytes: RawSpan) {
    var cursor = ByteCursor(bytes)
    magic = cursor.bytes16()
    version = cursor.littleEndianUInt32()
    requiredFeatures = cursor.littleEndianUInt32()
    stateBytes = cursor.littleEndianUInt64()
    metadataBytes = cursor.littleEndianUInt64()
    stateDigest = cursor.bytes16()
    hash = cursor.littleEndianUInt64().byteSwapped
  }

  func encode(into bytes: inout MutableRawSpan) {
    bytes.put(magic, at: Offset.magic)
    bytes.put(version, at: Offset.version)
    bytes.put(requiredFeatures, at: Offset.requiredFeatures)
    bytes.put(stateBytes, at: Offset.stateBytes)
    bytes.put(metadataBytes, at: Offset.metadataBytes)
    bytes.put(stateDigest, at: Offset.stateDigest)
    bytes.put(hash.byteSwapped, at: Offset.hash)
  }
}
