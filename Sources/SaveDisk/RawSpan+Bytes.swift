extension RawSpan {
  /// The byte at `offset`; traps outside the span.
  @inline(__always)
  public func byte(at offset: Int) -> UInt8 {
    precondition(offset >= 0 && offset < byteCount, "offset outside the span")
    return unsafe unsafeLoad(fromUncheckedByteOffset: offset, as: UInt8.self)
  }

  /// The native-endian word at `offset`, of any alignment; traps outside the span.
  @inline(__always)
  func word(at offset: Int) -> UInt64 {
    precondition(offset >= 0 && offset <= byteCount - 8, "offset outside the span")
    return unsafe unsafeLoadUnaligned(fromUncheckedByteOffset: offset, as: UInt64.self)
  }

  /// Offset of the first byte that is not zero, or nil if all are.
  public var firstNonZero: Int? {
    var offset = 0
    while offset + 32 <= byteCount {
      let any =
        word(at: offset) | word(at: offset + 8) | word(at: offset + 16) | word(at: offset + 24)
      if any != 0 { break }
      offset += 32
    }
    while offset < byteCount {
      if byte(at: offset) != 0 { return offset }
      offset += 1
    }
    return nil
  }

  /// Offset of the last byte that is not zero, or nil if all are.
  public var lastNonZero: Int? {
    var end = byteCount
    while end >= 8 && word(at: end - 8) == 0 { end -= 8 }
    while end > 0 {
      end -= 1
      if byte(at: end) != 0 { return end }
    }
    return nil
  }

  /// True if no byte differs from zero. True of an empty span.
  public var isAllZero: Bool { firstNonZero == nil }
}
