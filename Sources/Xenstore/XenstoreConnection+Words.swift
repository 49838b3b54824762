import SaveDisk
import SystemIO

/// Paths and numbers, as the protocol has them.
extension XenstoreConnection {
  /// A path has no NUL; the protocol ends it with one.
  static func terminated(_ path: SystemPath) -> [UInt8] { [UInt8](path.bytes) + [0] }

  static func decimal(_ number: UInt64) -> [UInt8] {
    var text = PlainText()
    text.append(number)
    return text.bytes
  }

  static func number(_ digits: ArraySlice<UInt8>) -> UInt32? {
    guard !digits.isEmpty && digits.count <= 10 else { return nil }
    var value: UInt64 = 0
    for digit in digits {
      guard digit >= UInt8(ascii: "0") && digit <= UInt8(ascii: "9") else { return nil }
      value = value * 10 + UInt64(digit - UInt8(ascii: "0"))
    }
    return UInt32(exactly: value)
  }
}
