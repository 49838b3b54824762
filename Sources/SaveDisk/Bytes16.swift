/// Sixteen bytes in the order in which they are stored: a transfer id, a UUID or a digest.
///
/// A byte string, not a number: the two words are only how it is kept.
public struct Bytes16: Hashable, Sendable, BitwiseCopyable {
  /// Bytes 0 to 7, read little-endian.
  public let first: UInt64
  /// Bytes 8 to 15, read little-endian.
  public let last: UInt64

  public init(first: UInt64, last: UInt64) {
    self.first = first
    self.last = last
  }

  public static let zero = Bytes16(first: 0, last: 0)

  public var isZero: Bool { first == 0 && last == 0 }

  /// Byte `index`, 0 to 15.
  public subscript(index: Int) -> UInt8 {
    precondition(index >= 0 && index < 16)
    let word = index < 8 ? first : last
    return UInt8(truncatingIfNeeded: word >> UInt64(8 * (index & 7)))
  }
}
