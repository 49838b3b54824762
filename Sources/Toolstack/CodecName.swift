import Codecs
import ZstdCodec

/// A codec as a user of dom0's commands names it.
public enum CodecName: String, Sendable, CaseIterable {
  case none, lz4, zlib, zstd, auto

  /// Nil where there is nothing to set.
  public var levels: ClosedRange<Int>? {
    switch self {
    case .zlib: DeflateCodec.levels
    case .zstd: ZstdCodec.levels
    case .none, .lz4, .auto: nil
    }
  }

  /// - Parameter level: one of `levels`; nil is the fastest.
  public func setting(level: Int? = nil) -> CodecSetting {
    switch self {
    case .none: .none
    case .lz4: .lz4
    case .auto: .auto
    case .zlib: DeflateCodec.setting(level: level ?? DeflateCodec.defaultLevel)
    case .zstd: ZstdCodec.setting(level: level ?? ZstdCodec.defaultLevel)
    }
  }
}
