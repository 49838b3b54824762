import SaveDisk

/// Keys and values of EMULATOR_XENSTORE_DATA, each ended by a zero, taken piece by piece.
struct XenstorePairs {
  private var isInKey = true
  private var isAtStart = true

  /// Whether the data may end here.
  var isComplete: Bool { isInKey && isAtStart }

  /// - Returns: the offset of the first byte that may not stand where it does.
  mutating func take(_ bytes: RawSpan) -> Int? {
    for index in 0..<bytes.byteCount {
      let byte = bytes.byte(at: index)
      if byte == 0 {
        // A value may be empty, a key not.
        if isInKey && isAtStart { return index }
        isInKey.toggle()
        isAtStart = true
      } else {
        if isInKey && !XenstorePairs.isOfKey(byte) { return index }
        // Absolute: libxl puts a path before it.
        if isInKey && isAtStart && byte == UInt8(ascii: "/") { return index }
        isAtStart = false
      }
    }
    return nil
  }

  private static func isOfKey(_ byte: UInt8) -> Bool {
    switch byte {
    case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
      UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "-"), UInt8(ascii: "/"),
      UInt8(ascii: "_"), UInt8(ascii: "@"):
      true
    default: false
    }
  }
}

/// The `pfn` array of PAGE_DATA, taken piece by piece.
struct PageNumbers {
  /// That come with their contents.
  private(set) var pages: UInt64 = 0

  /// - Parameter bytes: what is behind the last whole number is not looked at.
  /// - Returns: the offset of the first number that cannot be.
  mutating func take(_ bytes: RawSpan) -> Int? {
    var cursor = ByteCursor(bytes)
    for index in 0..<(bytes.byteCount / 8) {
      let number = cursor.littleEndianUInt64()
      guard number >> 52 & 0xFF == 0 else { return 8 * index }
      switch number >> 60 {
      case 0...4, 9...12: pages += 1
      case 5...8: return 8 * index
      default: break
      }
    }
    return nil
  }
}
