extension JSONParser {
  static func hexDigit(_ byte: UInt8) -> UInt32? {
    switch byte {
    case UInt8(ascii: "0")...UInt8(ascii: "9"): UInt32(byte - UInt8(ascii: "0"))
    case UInt8(ascii: "a")...UInt8(ascii: "f"): UInt32(byte - UInt8(ascii: "a") + 10)
    case UInt8(ascii: "A")...UInt8(ascii: "F"): UInt32(byte - UInt8(ascii: "A") + 10)
    default: nil
    }
  }

  /// The bytes that a string stands for.
  ///
  /// - Parameter text: a string that the parser has accepted, without its quotation marks.
  static func unescape(_ text: ArraySlice<UInt8>) -> [UInt8] {
    guard text.contains(UInt8(ascii: "\\")) else { return [UInt8](text) }
    var result: [UInt8] = []
    var rest = text
    while let byte = rest.popFirst() {
      guard byte == UInt8(ascii: "\\"), let escape = rest.popFirst() else {
        result.append(byte)
        continue
      }
      switch escape {
      case UInt8(ascii: "b"): result.append(0x08)
      case UInt8(ascii: "f"): result.append(0x0C)
      case UInt8(ascii: "n"): result.append(0x0A)
      case UInt8(ascii: "r"): result.append(0x0D)
      case UInt8(ascii: "t"): result.append(0x09)
      case UInt8(ascii: "u"):
        var scalar = takeFourDigits(&rest)
        if scalar >= 0xD800 && scalar < 0xDC00 {
          rest = rest.dropFirst(2)
          scalar = 0x10000 + (scalar - 0xD800) << 10 + (takeFourDigits(&rest) - 0xDC00)
        }
        append(scalar, to: &result)
      default: result.append(escape)
      }
    }
    return result
  }

  private static func takeFourDigits(_ rest: inout ArraySlice<UInt8>) -> UInt32 {
    var value: UInt32 = 0
    for byte in rest.prefix(4) { value = value << 4 | (hexDigit(byte) ?? 0) }
    rest = rest.dropFirst(4)
    return value
  }

  /// As UTF-8.
  private static func append(_ scalar: UInt32, to bytes: inout [UInt8]) {
    func tail(_ shift: UInt32) -> UInt8 { UInt8(scalar >> shift & 0x3F) | 0x80 }
    switch scalar {
    case 0..<0x80: bytes.append(UInt8(scalar))
    case 0x80..<0x800: bytes.append(contentsOf: [UInt8(scalar >> 6) | 0xC0, tail(0)])
    case 0x800..<0x10000:
      bytes.append(contentsOf: [UInt8(scalar >> 12) | 0xE0, tail(6), tail(0)])
    default:
      bytes.append(contentsOf: [UInt8(scalar >> 18) | 0xF0, tail(12), tail(6), tail(0)])
    }
  }
}
