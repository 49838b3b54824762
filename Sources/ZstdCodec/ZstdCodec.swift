import CZstd
import Codecs
import SaveDisk

#if !hasFeature(Embedded)

  /// Zstandard, for dom0 to write archives with: what a codec is that the stubdomain's agent does not
  /// have (formats/save-disk.md, section 6).
  public enum ZstdCodec {
    /// The library's own, without those that want more memory than a state is worth.
    public static let levels = 1...19
    /// Fast enough that a disk rarely waits for it.
    public static let defaultLevel = 1

    /// As a setting for the writer.
    ///
    /// - Parameter level: one of `levels`.
    public static func setting(level: Int = defaultLevel) -> CodecSetting {
      precondition(levels.contains(level))
      return .added(
        AddedEncoder(.zstd) {
          let encoder = ZstdEncoder(level: Int32(level))
          return { raw, room in encoder.encode(raw, into: &room) }
        })
    }
  }

  /// Owns libzstd's memory for compressing.
  @safe final class ZstdEncoder {
    private let context: OpaquePointer

    /// Of a window as large as the largest chunk, so that every frame is of a single segment: it
    /// then names its length, and a reader needs no window beside the chunk.
    private static let windowLog: Int32 = 20

    init(level: Int32) {
      guard let context = unsafe ZSTD_createCCtx() else { fatalError("out of memory for zstd") }
      unsafe self.context = unsafe context
      for (parameter, value) in [
        (ZSTD_c_compressionLevel, level), (ZSTD_c_windowLog, Self.windowLog),
      ] {
        let code = unsafe ZSTD_CCtx_setParameter(context, parameter, value)
        precondition(ZSTD_isError(code) == 0, "a parameter that libzstd does not take")
      }
    }

    deinit { unsafe ZSTD_freeCCtx(context) }

    func encode(_ raw: RawSpan, into room: inout MutableRawSpan) -> Int? {
      let stored = unsafe room.withUnsafeMutableBytes { target in
        unsafe raw.withUnsafeBytes { source in
          unsafe ZSTD_compress2(
            context, target.baseAddress, target.count, source.baseAddress, source.count)
        }
      }
      // No room is the only thing that can be wrong.
      return ZSTD_isError(stored) == 0 ? stored : nil
    }
  }

#endif
