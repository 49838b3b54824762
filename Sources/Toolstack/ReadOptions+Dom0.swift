import Codecs
import SaveDisk
import Transfer

extension CodecSet {
  /// All that dom0 can decode.
  public static let dom0 = ChunkCodec.supported.union(CodecSet(.zstd))
}

extension ReadOptions {
  /// For what is dom0's own, such as an archive: every codec that it can decode. What a stubdomain
  /// writes is read with the codecs that were offered to it.
  public static var dom0: ReadOptions {
    var options = ReadOptions()
    options.acceptedCodecs = .dom0
    return options
  }
}
