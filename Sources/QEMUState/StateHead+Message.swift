import SaveDisk
import Transfer

/// What the decoder's process says of a state's first bytes: fixed size, little-endian.
extension StateHead {
  public static let messageBytes = 4 * 4 + 8 + maxMachineBytes

  /// Kind, version, 0 or 1 for a machine, its bytes, u32 each; offset u64; the machine, zeros up to
  /// 256 bytes.
  public func encode(into bytes: inout [UInt8]) {
    let name = (machine ?? []).prefix(StateHead.maxMachineBytes)
    for number in [kind.rawValue, version, machine == nil ? 0 : 1, UInt32(name.count)] {
      bytes.append(littleEndian: number)
    }
    bytes.append(littleEndian: offset)
    bytes += name
    bytes += [UInt8](repeating: 0, count: StateHead.maxMachineBytes - name.count)
  }

  /// - Parameter stateBytes: of the state that was looked at.
  public init(parsing cursor: inout ByteCursor, stateBytes: UInt64) throws(MessageError) {
    guard let kind = Kind(rawValue: cursor.littleEndianUInt32()) else { throw MessageError() }
    let version = cursor.littleEndianUInt32()
    let hasMachine = cursor.littleEndianUInt32()
    let count = cursor.littleEndianUInt32()
    let offset = try cursor.bounded(stateBytes)
    var name: [UInt8] = []
    for _ in 0..<(StateHead.maxMachineBytes / 4) {
      name.append(littleEndian: cursor.littleEndianUInt32())
    }
    guard hasMachine <= 1, count <= StateHead.maxMachineBytes, hasMachine == 1 || count == 0,
      name.dropFirst(Int(count)).allSatisfy({ $0 == 0 }), offset <= UInt64(StateHead.maxBytes)
    else { throw MessageError() }
    self.init(
      kind, version: version, machine: hasMachine == 1 ? [UInt8](name.prefix(Int(count))) : nil,
      offset: Int(offset))
  }
}
