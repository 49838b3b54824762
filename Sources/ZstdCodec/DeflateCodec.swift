import CDeflate
import Codecs
import SaveDisk

#if !hasFeature(Embedded)

  /// zlib's format by libdeflate, for dom0: of pieces of a `migrate` stream 2.0 to 2.4 times as fast as
  /// zlib at level 1, 2.7 times at level 6, 8 % larger to 2 % smaller (2026-11-25). Only for writing: which bodies are right is zlib's `inflate` to say
  /// (formats/save-disk.md, section 6), and libdeflate takes some that it refuses.
  public enum DeflateCodec {
    /// libdeflate's own.
    public static let levels = 1...12
    public static let defaultLevel = 1

    /// - Parameter level: one of `levels`.
    public static func setting(level: Int = defaultLevel) -> CodecSetting {
      precondition(levels.contains(level))
      return .added(
        AddedEncoder(.zlib) {
          let encoder = DeflateEncoder(level: Int32(level))
          return { raw, room in encoder.encode(raw, into: &room) }
        })
    }
  }

  /// Owns libdeflate's memory for compressing.
  @safe final class DeflateEncoder {
    private let compressor: OpaquePointer

    init(level: Int32) {
      guard let compressor = unsafe libdeflate_alloc_compressor(level) else {
        fatalError("out of memory for libdeflate")
      }
      unsafe self.compressor = unsafe compressor
    }

    deinit { unsafe libdeflate_free_compressor(compressor) }

    func encode(_ raw: RawSpan, into room: inout MutableRawSpan) -> Int? {
      let stored = unsafe room.withUnsafeMutableBytes { target in
        unsafe raw.withUnsafeBytes { source in
          unsafe libdeflate_zlib_compress(
            compressor, source.baseAddress, source.count, target.baseAddress, target.count)
        }
      }
      return stored > 0 ? stored : nil
    }
  }

#endif
