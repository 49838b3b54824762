import Codecs
import SaveDisk

/// What a reader is told beside the disk; none of it comes from there.
public struct ReadOptions: Sendable, BitwiseCopyable {
  public var limits = ReaderLimits()
  /// Codecs whose decoder may be run. `none` and `zeros` always are in it.
  public var acceptedCodecs = ChunkCodec.supported
  /// False: structure and stored hashes only, no decoder is run, no stream digest compared.
  public var isDecoding = true

  public init() {}
}

extension ReaderLimits {
  /// Most bytes of a disk that these limits admit.
  public var maxDiskBytes: UInt64 { UInt64(2 * Layout.blockBytes) + maxLogBytes }
}
