import Codecs
import SaveDisk
import SystemIO
import Transfer
import ZstdCodec

extension DoorResources {
  /// What dom0 has: a decoder for Zstandard, and a second thread.
  static func dom0(progress: Progress? = nil) -> DoorResources {
    var resources = DoorResources()
    resources.added = [ZstdCodec.codec()]
    // The one that writes the output, and one that decodes beside it; more would wait for them.
    resources.workers = 2
    resources.progress = progress
    return resources
  }
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

extension CodecSet {
  /// All that dom0 can decode.
  public static let dom0 = ChunkCodec.supported.union(CodecSet(.zstd))
}
