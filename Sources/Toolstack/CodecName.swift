import Codecs
import SystemIO
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

  /// Threads that code a long stream at once: as many as can run, as long as their memory stays within
  /// what such a stream may take. One of zstd's keeps up to 20 times the chunk (level 19, measured).
  public func workers(level: Int?, chunkBytes: Int) -> Int {
    let most = WriteOptions.usualWorkers
    guard self == .zstd, let level, level > Self.lightLevels else { return most }
    return min(most, max(Self.workingBytes / (20 * chunkBytes), 1))
  }

  /// Up to here a thread of zstd's keeps less than its two buffers.
  private static let lightLevels = 5
  private static let workingBytes = 16 << 20

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
