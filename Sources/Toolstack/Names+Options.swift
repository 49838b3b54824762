import Codecs
import SaveDisk
import ZstdCodec

extension StreamName {
  /// Nil if the text is no valid name.
  public init?(_ text: String) {
    let bytes = [UInt8](text.utf8)
    guard let name = unsafe StreamName(validating: bytes.span.bytes) else { return nil }
    self = name
  }

  public var text: String {
    var plain = PlainText()
    plain.append(self)
    return plain.text
  }
}

extension PlainText {
  public var text: String { String(decoding: bytes, as: UTF8.self) }
}

extension Bytes16 {
  /// 32 hexadecimal digits.
  public var hexText: String {
    var plain = PlainText()
    plain.append(hex: self)
    return plain.text
  }
}

extension CodecSetting {
  /// "none", "lz4", "zlib", "zstd" or "auto"; zlib by the library of that name.
  public init?(name: String) {
    switch name {
    case "none": self = .none
    case "lz4": self = .lz4
    case "zlib": self = .zlib
    case "zstd": self = ZstdCodec.setting()
    case "auto": self = .auto
    default: return nil
    }
  }
}

extension CodecSet {
  /// Of names that this build can decode; nil if one is not known. `none` and `zeros` always are
  /// in the set.
  public init?(names: [String]) {
    var set = CodecSet.always
    for name in names {
      switch name {
      case "none", "zeros": break
      case "lz4": set = set.union(CodecSet(.lz4))
      case "zlib": set = set.union(CodecSet(.zlib))
      case "zstd": set = set.union(CodecSet(.zstd))
      default: return nil
      }
    }
    self = set
  }

  /// The names of the codecs in it; numbers of those that have none.
  public var names: [String] {
    (0...FormatLimits.maxCodecNumber).filter { contains(Codec(number: $0)) }.map {
      Codec(number: $0).name.map { "\($0)" } ?? "\($0)"
    }
  }
}
