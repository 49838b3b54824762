/// Arguments as text that can be turned back into the very bytes.
///
/// Swift repairs what is not UTF-8, which would name another file. Here each byte that is not part
/// of valid UTF-8 becomes one scalar of a reserved range (private use, plane 16), and scalars of
/// that range in the original are taken apart into bytes as well: the mapping is one to one.
enum ArgumentText {
  private static let reserved: UInt32 = 0x10_F700

  static func encode(_ bytes: ArraySlice<UInt8>) -> String {
    var text = String.UnicodeScalarView()
    var rest = bytes
    while let first = rest.first {
      if let (scalar, count) = validScalar(rest) {
        text.append(scalar)
        rest = rest.dropFirst(count)
      } else {
        text.append(Unicode.Scalar(reserved + UInt32(first)) ?? "?")
        rest = rest.dropFirst()
      }
    }
    return String(text)
  }

  /// The scalar that the bytes begin with, unless it is not valid or of the reserved range.
  private static func validScalar(
    _ bytes: ArraySlice<UInt8>
  ) -> (scalar: Unicode.Scalar, count: Int)? {
    for count in 1...4 where count <= bytes.count {
      guard let text = String(validating: bytes.prefix(count), as: UTF8.self) else { continue }
      guard let scalar = text.unicodeScalars.first, text.unicodeScalars.count == 1,
        !(reserved...reserved + 0xFF).contains(scalar.value)
      else { return nil }
      return (scalar, count)
    }
    return nil
  }

  static func decode(_ text: String) -> [UInt8] {
    var bytes: [UInt8] = []
    for scalar in text.unicodeScalars {
      if (reserved...reserved + 0xFF).contains(scalar.value) {
        bytes.append(UInt8(scalar.value - reserved))
      } else {
        bytes.append(contentsOf: UTF8.encode(scalar) ?? UTF8.encodedReplacementCharacter)
      }
    }
    return bytes
  }
}
