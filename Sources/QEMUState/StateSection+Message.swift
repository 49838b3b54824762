import SaveDisk
import Transfer

/// A section as the decoder's process lists it: 296 bytes. `offset` and `payloadBytes` u64; `id`,
/// `instance`, `version`, `headerBytes`, `nameBytes`, kind (with 256 if it is framed) u32 each; the name, zeros up
/// to 256 bytes.
extension StateSection {
  public static let messageBytes = 296
  /// More than any machine has devices.
  public static let maxCount = 4096
  /// QEMU counts them in one byte.
  private static let maxNameBytes = 256
  private static let framed: UInt32 = 256

  public func encode(into bytes: inout [UInt8]) {
    bytes.append(littleEndian: offset)
    bytes.append(littleEndian: payloadBytes)
    let name = name.prefix(StateSection.maxNameBytes)
    let kind = UInt32(kind.rawValue) + (isFramed ? StateSection.framed : 0)
    for number in [id, instance, version, UInt32(headerBytes), UInt32(name.count), kind] {
      bytes.append(littleEndian: number)
    }
    bytes += name
    bytes += [UInt8](repeating: 0, count: StateSection.maxNameBytes - name.count)
  }

  /// - Parameter stateBytes: of the state that was looked at.
  public init(parsing bytes: RawSpan, stateBytes: UInt64) throws(MessageError) {
    guard bytes.byteCount == StateSection.messageBytes else { throw MessageError() }
    var cursor = ByteCursor(bytes)
    let offset = try cursor.bounded(stateBytes)
    let payloadBytes = try cursor.bounded(stateBytes - offset)
    let id = cursor.littleEndianUInt32()
    let instance = cursor.littleEndianUInt32()
    let version = cursor.littleEndianUInt32()
    let headerBytes = cursor.littleEndianUInt32()
    let nameBytes = cursor.littleEndianUInt32()
    let marks = cursor.littleEndianUInt32()
    guard marks < 2 * StateSection.framed,
      let kind = Kind(rawValue: UInt8(truncatingIfNeeded: marks)),
      nameBytes <= StateSection.maxNameBytes,
      headerBytes <= 512
    else { throw MessageError() }
    let start = cursor.position
    self.init(
      kind: kind, offset: offset, id: id,
      name: (0..<Int(nameBytes)).map { bytes.byte(at: start + $0) },
      instance: instance, version: version, headerBytes: Int(headerBytes),
      payloadBytes: payloadBytes, isFramed: marks >= StateSection.framed)
  }
}
