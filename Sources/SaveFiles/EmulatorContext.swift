import SaveDisk
import Transfer

/// An EMULATOR_CONTEXT record of a libxl stream, for QEMU upstream's state.
public enum EmulatorContext {
  public static let headerBytes: UInt64 = 16
  /// `body_length` counts the sub-header, too.
  public static let maxStateBytes = UInt64(UInt32.max) - 8
  static let qemuUpstream: UInt32 = 2

  /// What stands before a state of so many bytes: type, `body_length`, `emulator_id`, `index`.
  ///
  /// - Parameter stateBytes: at most `maxStateBytes`.
  public static func header(stateBytes: UInt64) -> [UInt8] {
    precondition(stateBytes <= maxStateBytes)
    var bytes: [UInt8] = []
    bytes.append(littleEndian: LibxlRecordType.emulatorContext.rawValue)
    bytes.append(littleEndian: UInt32(stateBytes + 8))
    bytes.append(littleEndian: qemuUpstream)
    bytes.append(littleEndian: UInt32(0))
    return bytes
  }

  /// Whether a file that begins like this is such a record, of either QEMU.
  static func begins(_ bytes: RawSpan) -> Bool {
    let head = Int(headerBytes)
    guard bytes.byteCount > head,
      bytes.extracting(head..<bytes.byteCount).begins(with: SaveFileFormat.state.magic)
    else { return false }
    let emulator = bytes.extracting(8..<head).number
    return bytes.number == LibxlRecordType.emulatorContext.rawValue
      && emulator <= qemuUpstream
  }

  /// Zeros that follow it.
  public static func paddingBytes(stateBytes: UInt64) -> Int { Int(7 & (8 - stateBytes % 8)) }
}
