import SaveDisk

// Each as it is stored; nothing of them is checked here.

/// xl's `save_file_header` behind its magic.
struct XLHeader {
  static let byteCount = 48

  let byteorder: UInt32
  let mandatoryFlags: UInt32
  let optionalFlags: UInt32
  let optionalDataBytes: UInt32

  init(parsing bytes: RawSpan) {
    var cursor = ByteCursor(bytes.extracting(32..<XLHeader.byteCount))
    byteorder = cursor.littleEndianUInt32()
    mandatoryFlags = cursor.littleEndianUInt32()
    optionalFlags = cursor.littleEndianUInt32()
    optionalDataBytes = cursor.littleEndianUInt32()
  }
}

/// libvirt's `libxlSavefileHeader` behind its magic.
struct LibvirtHeader {
  static let byteCount = 64
  static let unused = 24..<byteCount

  let version: UInt32
  let xmlBytes: UInt32

  init(parsing bytes: RawSpan) {
    var cursor = ByteCursor(bytes.extracting(16..<24))
    version = cursor.littleEndianUInt32()
    xmlBytes = cursor.littleEndianUInt32()
  }
}

/// A libxl stream's, big-endian.
struct LibxlHeader {
  static let byteCount = 16

  let hasIdent: Bool
  let version: UInt32
  let options: UInt32

  init(parsing bytes: RawSpan) {
    hasIdent = bytes.begins(with: SaveFileFormat.libxl.magic)
    var cursor = ByteCursor(bytes.extracting(8..<LibxlHeader.byteCount))
    version = cursor.littleEndianUInt32().byteSwapped
    options = cursor.littleEndianUInt32().byteSwapped
  }
}

/// A libxc stream's first, big-endian.
struct ImageHeader {
  static let byteCount = 24
  static let reserved = 18..<byteCount
  /// "XENF".
  static let id: UInt32 = 0x5845_4E46

  let marker: UInt64
  let id: UInt32
  let version: UInt32
  let options: UInt32

  init(parsing bytes: RawSpan) {
    var cursor = ByteCursor(bytes)
    marker = cursor.littleEndianUInt64()
    id = cursor.littleEndianUInt32().byteSwapped
    version = cursor.littleEndianUInt32().byteSwapped
    options = UInt32(bytes.byte(at: 16)) << 8 | UInt32(bytes.byte(at: 17))
  }
}

/// A libxc stream's second.
struct DomainHeader {
  static let byteCount = 16
  static let reserved = 6..<8

  let type: UInt32
  let pageShift: UInt32
  let xenMajor: UInt32
  let xenMinor: UInt32

  init(parsing bytes: RawSpan) {
    var cursor = ByteCursor(bytes)
    type = cursor.littleEndianUInt32()
    pageShift = cursor.littleEndianUInt32() & 0xFFFF
    xenMajor = cursor.littleEndianUInt32()
    xenMinor = cursor.littleEndianUInt32()
  }
}

/// A record's first 8 bytes, as libxl and libxc have them.
struct RecordHead {
  static let byteCount = 8
  /// Of the type.
  private static let optional: UInt32 = 0x8000_0000

  let offset: UInt64
  let type: UInt32
  let bodyBytes: UInt32

  init(parsing bytes: RawSpan, at offset: UInt64) {
    self.offset = offset
    (type, bodyBytes) = bytes.twoNumbers
  }

  var isOptional: Bool { type & RecordHead.optional != 0 }

  func entry(
    _ structure: SaveFileStructure, first: UInt32 = 0, second: UInt64 = 0
  ) -> SaveFileEntry {
    SaveFileEntry(
      structure, at: offset, bytes: UInt64(bodyBytes), type: UInt64(type), first: UInt64(first),
      second: second)
  }
}

extension RawSpan {
  /// The first 4 bytes.
  var number: UInt32 {
    var cursor = ByteCursor(self)
    return cursor.littleEndianUInt32()
  }

  /// The first 8 bytes.
  var twoNumbers: (UInt32, UInt32) {
    var cursor = ByteCursor(self)
    let first = cursor.littleEndianUInt32()
    return (first, cursor.littleEndianUInt32())
  }
}
