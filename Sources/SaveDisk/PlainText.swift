/// Text for terminals, logs and answers: printable ASCII and nothing else, whatever goes in.
///
/// Built from bytes so that Embedded Swift needs no Unicode tables; both builds write the same
/// messages.
public struct PlainText: Sendable {
  public private(set) var bytes: [UInt8] = []

  public init() {}

  /// Text of the program's own.
  public mutating func append(_ text: StaticString) {
    unsafe bytes.append(
      contentsOf: UnsafeBufferPointer(start: text.utf8Start, count: text.utf8CodeUnitCount))
  }

  /// Decimal.
  public mutating func append(_ number: UInt64) {
    var digits: [UInt8] = []
    var rest = number
    repeat {
      digits.append(UInt8(ascii: "0") + UInt8(rest % 10))
      rest /= 10
    } while rest > 0
    bytes.append(contentsOf: digits.reversed())
  }

  /// "0x" and as few digits as it takes, at least `minDigits`.
  public mutating func append(hex number: UInt64, minDigits: Int = 1) {
    append("0x")
    var shift = 60
    while shift >= 4 * minDigits && number >> UInt64(shift) == 0 { shift -= 4 }
    while shift >= 0 {
      appendDigit(UInt8(truncatingIfNeeded: number >> UInt64(shift)) & 15)
      shift -= 4
    }
  }

  /// Two digits a byte, in the order in which they are stored.
  public mutating func append(hex value: Bytes16) {
    for index in 0..<16 { append(hexByte: value[index]) }
  }

  /// Bytes from outside: printable ASCII as it is, everything else, and the backslash, as \xNN.
  ///
  /// - Parameter maxBytes: so many of them are shown; "..." stands for the rest.
  public mutating func append(
    escaping text: some Sequence<UInt8>, maxBytes: Int = 4096
  ) {
    var count = 0
    for byte in text {
      if count == maxBytes {
        append("...")
        return
      }
      count += 1
      if byte >= 0x20 && byte < 0x7F && byte != UInt8(ascii: "\\") {
        bytes.append(byte)
      } else {
        append("\\x")
        append(hexByte: byte)
      }
    }
  }

  public mutating func append(_ name: StreamName) {
    for index in 0..<name.count { bytes.append(name[index]) }
  }

  public mutating func append(_ text: PlainText) { bytes.append(contentsOf: text.bytes) }

  /// One byte as it is, for text in a format that has its own escapes.
  public mutating func append(byte: UInt8) { bytes.append(byte) }

  /// Two digits.
  public mutating func append(hexByte byte: UInt8) {
    appendDigit(byte >> 4)
    appendDigit(byte & 15)
  }

  private mutating func appendDigit(_ digit: UInt8) {
    bytes.append(digit < 10 ? UInt8(ascii: "0") + digit : UInt8(ascii: "a") + digit - 10)
  }
}
