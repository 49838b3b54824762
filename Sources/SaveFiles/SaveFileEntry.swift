import SaveDisk
import Transfer

/// A header or record of a save file, as it is listed: 48 bytes, numbers only. `offset`, `bytes`,
/// `type`, `first`, `second` u64, `structure` u32, all little-endian, 4 bytes of zero.
public struct SaveFileEntry: Equatable, Sendable, BitwiseCopyable {
  public static let byteCount = 48
  /// Beyond a guest of 200 GiB; 3 MiB of entries.
  public static let maxCount = 65_536

  public let structure: SaveFileStructure
  /// Where it begins, from the start of the file.
  public let offset: UInt64
  /// Of a record its body's, of anything else all of it.
  public let bytes: UInt64
  /// Of a record.
  public let type: UInt64
  /// As `SaveFileStructure.valueNames` calls them.
  public let first: UInt64
  public let second: UInt64

  init(
    _ structure: SaveFileStructure, at offset: UInt64, bytes: UInt64, type: UInt64 = 0,
    first: UInt64 = 0, second: UInt64 = 0
  ) {
    self.structure = structure
    self.offset = offset
    self.bytes = bytes
    self.type = type
    self.first = first
    self.second = second
  }

  /// It has a type and a body.
  public var isRecord: Bool {
    switch structure {
    case .xlHeader, .xlOptionalData, .libvirtHeader, .libvirtXML, .libxlHeader, .imageHeader,
      .domainHeader, .suspendImage, .stateFile:
      false
    default: true
    }
  }

  public func encode(into bytes: inout [UInt8]) {
    for number in [offset, self.bytes, type, first, second] { bytes.append(littleEndian: number) }
    bytes.append(littleEndian: UInt32(structure.rawValue))
    bytes.append(littleEndian: UInt32(0))
  }

  public init(parsing bytes: RawSpan) throws(MessageError) {
    guard bytes.byteCount == SaveFileEntry.byteCount else { throw MessageError() }
    var cursor = ByteCursor(bytes)
    let numbers = (
      cursor.littleEndianUInt64(), cursor.littleEndianUInt64(), cursor.littleEndianUInt64(),
      cursor.littleEndianUInt64(), cursor.littleEndianUInt64()
    )
    let structure = cursor.littleEndianUInt32()
    guard let structure = SaveFileStructure(rawValue: UInt8(clamping: structure)),
      cursor.littleEndianUInt32() == 0
    else { throw MessageError() }
    self.init(
      structure, at: numbers.0, bytes: numbers.1, type: numbers.2, first: numbers.3,
      second: numbers.4)
  }
}
