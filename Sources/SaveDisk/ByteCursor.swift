/// Reads forward over bytes from outside, bounds-checked, little-endian.
///
/// The only way that SaveDisk looks into bytes it did not make itself. A read past the end is a
/// bug of the caller, which has checked the length of the structure before: it traps, also in
/// release builds (`RawSpan` checks every access), and never reads neighbouring memory.
public struct ByteCursor: ~Escapable {
  let bytes: RawSpan
  /// Offset of the next byte to be read, from the start of `bytes`.
  public private(set) var position: Int

  @_lifetime(copy bytes)
  public init(_ bytes: RawSpan) {
    self.bytes = bytes
    self.position = 0
  }

  /// A u32 as the format stores it, 4 bytes.
  public mutating func littleEndianUInt32() -> UInt32 {
    var value: UInt32 = 0
    for index in 0..<4 {
      value |= UInt32(bytes.byte(at: position + index)) << UInt32(8 * index)
    }
    position += 4
    return value
  }

  /// A u64 as the format stores it, 8 bytes.
  public mutating func littleEndianUInt64() -> UInt64 {
    let low = UInt64(littleEndianUInt32())
    let high = UInt64(littleEndianUInt32())
    return low | high << 32
  }

  /// 16 bytes as they are: an identifier or a digest.
  public mutating func bytes16() -> Bytes16 {
    let first = littleEndianUInt64()
    let last = littleEndianUInt64()
    return Bytes16(first: first, last: last)
  }

  /// The position of the first byte that is not zero among the next `count`, or nil.
  /// Moves behind them.
  public mutating func firstNonZero(count: Int) -> Int? {
    let start = position
    position += count
    return bytes.extracting(start..<position).firstNonZero.map { start + $0 }
  }
}
