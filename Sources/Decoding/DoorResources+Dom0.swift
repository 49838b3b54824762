import Codecs
import Transfer
import ZstdCodec

extension DoorResources {
  /// What dom0 has: a decoder for Zstandard.
  public static func dom0(advanced: ((Int) -> Void)? = nil) -> DoorResources {
    var resources = DoorResources()
    resources.added = [.zstd()]
    resources.advanced = advanced
    return resources
  }
}
