/// Limits that the format sets, with their reasons (formats/save-disk.md, section 8).
/// Going beyond one is corruption, whatever the reader's own limits are.
public enum FormatLimits {
  /// Below, record headers and the codec's restarts cost; a power of two.
  public static let minChunkBytes: UInt32 = 65_536
  /// Above, a reader in a stubdomain of 40 MB would need too much memory. Bounds every body.
  public static let maxChunkBytes: UInt32 = 1_048_576
  /// There are four names in use; a fixed table needs no allocation.
  public static let maxStreams = 16
  /// Fits into a body of 64 bytes.
  public static let maxNameBytes = 32
  /// Header and one block of log, the least in which a commit fits.
  public static let minCapacityBytes: UInt64 = 8192
  /// Sums of offsets stay below 2^63, what `off_t` can hold.
  public static let maxCapacityBytes: UInt64 = 1 << 62
  /// Of the stream `metadata` (section 5.3): a few short lines.
  public static let maxMetadataBytes: UInt64 = 4096
  /// Xen's DOMID_FIRST_RESERVED - 1 (xen/include/public/xen.h).
  public static let maxDomid: UInt32 = 0x7FEF
  /// Codec numbers are bits of one u32.
  public static let maxCodecNumber: UInt32 = 31
}

/// Limits that are the reader's own and come from no disk. Going beyond one is verdict 7.
public struct ReaderLimits: Sendable, BitwiseCopyable {
  /// Device states are 12 KB to 1.2 MB; 64 MiB leaves room for large devices.
  public static let defaultStateBytes: UInt64 = 64 << 20

  /// Most raw bytes of all streams together.
  public let maxStateBytes: UInt64
  /// Most bytes of log, from byte 4096 on. Bounds what optional records can make a reader fetch.
  public let maxLogBytes: UInt64

  /// For a disk with a state of so many bytes, and metadata beside it.
  public static func forState(maxBytes: UInt64) -> ReaderLimits {
    ReaderLimits(maxStateBytes: min(maxBytes, .max / 2) + FormatLimits.maxMetadataBytes)
  }

  /// The limit on the log follows from that on the state: a chunk costs at most 127 bytes beyond
  /// its raw bytes, a 64th of the smallest full chunk is 1024.
  ///
  /// - Parameter maxStateBytes: in bytes; more than 2^61 counts as 2^61.
  public init(maxStateBytes: UInt64 = defaultStateBytes) {
    self.maxStateBytes = min(maxStateBytes, 1 << 61)
    self.maxLogBytes = self.maxStateBytes + self.maxStateBytes / 64 + (1 << 20)
  }
}
