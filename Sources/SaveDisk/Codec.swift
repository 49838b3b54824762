/// A codec's number on the disk (formats/save-disk.md, section 6). Numbers are never reused.
public struct Codec: Equatable, Sendable, BitwiseCopyable {
  public let number: UInt32

  public init(number: UInt32) { self.number = number }

  /// Raw bytes as they are.
  public static let none = Codec(number: 0)
  /// Zero bytes only; no body.
  public static let zeros = Codec(number: 1)
  /// One LZ4 block.
  public static let lz4 = Codec(number: 2)
  /// One zlib stream (RFC 1950).
  public static let zlib = Codec(number: 3)
  /// One Zstandard frame.
  public static let zstd = Codec(number: 4)

  public var name: StaticString? {
    switch number {
    case 0: "none"
    case 1: "zeros"
    case 2: "lz4"
    case 3: "zlib"
    case 4: "zstd"
    default: nil
    }
  }
}

/// A set of codecs as the header stores it: bit n for codec n.
public struct CodecSet: Equatable, Sendable, BitwiseCopyable {
  public let bits: UInt32

  public init(bits: UInt32) { self.bits = bits }

  public init(_ codecs: Codec...) {
    var bits: UInt32 = 0
    for codec in codecs { bits |= 1 << codec.number }
    self.bits = bits
  }

  /// In every set: they need no decoder.
  public static let always = CodecSet(.none, .zeros)

  public func contains(_ codec: Codec) -> Bool {
    codec.number <= FormatLimits.maxCodecNumber && bits >> codec.number & 1 == 1
  }

  public func union(_ other: CodecSet) -> CodecSet { CodecSet(bits: bits | other.bits) }
  public func intersection(_ other: CodecSet) -> CodecSet { CodecSet(bits: bits & other.bits) }
  public func isSuperset(of other: CodecSet) -> Bool { bits & other.bits == other.bits }
}
