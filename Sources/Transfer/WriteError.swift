import SaveDisk
import SystemIO

/// Why a disk was not written. The writer refuses every later call.
public enum WriteError: Error, Equatable, Sendable, BitwiseCopyable {
  /// A call that does not fit, or one after a failure.
  case refused(EncodingError)
  /// Writing or flushing failed.
  case store(SystemError)
  /// Reading what was to be written failed.
  case source(SystemError)
  /// It does not fit; so large, in bytes, must the disk be for this state with this setting.
  case diskTooSmall(capacityBytes: UInt64, neededBytes: UInt64)
  /// More raw bytes than the header allows.
  case overMaxRawBytes(UInt64)
}

/// A disk that is on stable storage.
public struct WrittenDisk: Sendable, BitwiseCopyable {
  /// Length of the save disk, a multiple of 4096.
  public let diskBytes: UInt64
  public let rawBytes: UInt64
  /// Bytes of the chunks' bodies.
  public let storedBytes: UInt64
}
