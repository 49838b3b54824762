import SaveDisk

/// A message taken apart: bounded, printable, single spaces; nothing is copied before that is
/// known (formats/rendezvous.md, section 2).
struct MessageFields {
  static let maxBytes = 255
  /// Of an offer, in every version, and of an answer without words.
  private static let maxFields = 8

  private let bytes: [UInt8]
  private let ranges: [Range<Int>]

  /// Nil if the bytes do not have the form of a message.
  init?(_ bytes: [UInt8]) {
    guard bytes.count >= 1 && bytes.count <= MessageFields.maxBytes else { return nil }
    var ranges: [Range<Int>] = []
    var start = 0
    for index in 0...bytes.count {
      if index < bytes.count && bytes[index] != 0x20 {
        guard bytes[index] > 0x20 && bytes[index] < 0x7F else { return nil }
        continue
      }
      guard index > start else { return nil }
      ranges.append(start..<index)
      start = index + 1
    }
    self.bytes = bytes
    self.ranges = ranges
  }

  /// At most `(maxBytes + 1) / 2`.
  var count: Int { ranges.count }

  var isTooMany: Bool { count > MessageFields.maxFields }

  /// This field and all behind it, with the spaces between them.
  func words(_ index: Int) -> AgentWords? {
    guard index < count else { return nil }
    return AgentWords([UInt8](bytes[ranges[index].lowerBound...]))
  }

  func `is`(_ index: Int, _ word: StaticString) -> Bool {
    guard index < count else { return false }
    return unsafe bytes[ranges[index]].elementsEqual(
      UnsafeBufferPointer(start: word.utf8Start, count: word.utf8CodeUnitCount))
  }

  /// Field 0: 1 to 65535.
  var version: UInt32? {
    guard let number = MessageFields.decimal(bytes[ranges[0]]), number >= 1 && number <= 65_535
    else { return nil }
    return UInt32(number)
  }

  var id: Bytes16? { id(1) }

  /// 32 lower-case hexadecimal digits.
  func id(_ field: Int) -> Bytes16? {
    guard count > field, ranges[field].count == 32 else { return nil }
    var words: [UInt64] = [0, 0]
    for (index, digit) in bytes[ranges[field]].enumerated() {
      let value: UInt64
      switch digit {
      case UInt8(ascii: "0")...UInt8(ascii: "9"): value = UInt64(digit - UInt8(ascii: "0"))
      case UInt8(ascii: "a")...UInt8(ascii: "f"): value = UInt64(digit - UInt8(ascii: "a") + 10)
      default: return nil
      }
      // Byte index/2, whose first digit is the higher one; words are little-endian.
      words[index / 16] |= value << UInt64(index / 2 % 8 * 8 + (index % 2 == 0 ? 4 : 0))
    }
    return Bytes16(first: words[0], last: words[1])
  }

  /// 0 to 2^62.
  func bytes(_ index: Int) -> UInt64? {
    guard index < count, let number = MessageFields.decimal(bytes[ranges[index]]),
      number <= 1 << 62
    else { return nil }
    return number
  }

  /// 1 to 3600000.
  func milliseconds(_ index: Int) -> UInt64? {
    bytes(index).flatMap { $0 >= 1 && $0 <= Wanted.maxMilliseconds ? $0 : nil }
  }

  /// 1 to 255.
  func code(_ index: Int) -> UInt8? {
    guard let number = bytes(index), number >= 1 && number <= 255 else { return nil }
    return UInt8(number)
  }

  func device(_ index: Int) -> DeviceName? {
    guard index < count else { return nil }
    return DeviceName([UInt8](bytes[ranges[index]]))
  }

  static func decimal(_ digits: ArraySlice<UInt8>) -> UInt64? { Decimal.read(digits) }
}

/// Numbers as messages and the agent's command line have them.
public enum Decimal {
  /// Digits without a leading zero; nil if they are none, or more than a u64 holds.
  public static func read(_ digits: ArraySlice<UInt8>) -> UInt64? {
    guard let first = digits.first, digits.count == 1 || first != UInt8(ascii: "0") else {
      return nil
    }
    var value: UInt64 = 0
    for digit in digits {
      guard digit >= UInt8(ascii: "0") && digit <= UInt8(ascii: "9") else { return nil }
      let (product, overflow) = value.multipliedReportingOverflow(by: 10)
      let (sum, overflowToo) = product.addingReportingOverflow(UInt64(digit - UInt8(ascii: "0")))
      if overflow || overflowToo { return nil }
      value = sum
    }
    return value
  }
}
