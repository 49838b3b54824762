import CZstd
import Codecs
import SaveDisk

/// Zstandard, for dom0: what a codec is that the stubdomain's agent does not have
/// (formats/save-disk.md, section 6).
public enum ZstdCodec {
  /// The library's own, without those that want more memory than a state is worth.
  public static let levels = 1...19
  /// Fast enough that a disk rarely waits for it.
  public static let defaultLevel = 1

  /// - Parameter level: for writing, one of `levels`.
  public static func codec(level: Int = defaultLevel) -> AddedCodec {
    precondition(levels.contains(level))
    return AddedCodec(
      .zstd, makeEncoder: { ZstdEncoder(level: Int32(level)) }, makeDecoder: { ZstdDecoder() })
  }

  /// As a setting for the writer.
  public static func setting(level: Int = defaultLevel) -> CodecSetting {
    .added(codec(level: level))
  }
}

/// Owns libzstd's memory for compressing.
@safe final class ZstdEncoder: BodyEncoder {
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

/// Owns libzstd's memory for decompressing.
@safe final class ZstdDecoder: BodyDecoder {
  private let context: OpaquePointer

  init() {
    guard let context = unsafe ZSTD_createDCtx() else { fatalError("out of memory for zstd") }
    unsafe self.context = unsafe context
  }

  deinit { unsafe ZSTD_freeDCtx(context) }

  func decode(_ body: RawSpan, into raw: inout MutableRawSpan) -> Bool {
    guard ZstdFrame.isPlain(body, rawBytes: raw.byteCount) else { return false }
    return unsafe raw.withUnsafeMutableBytes { target in
      unsafe body.withUnsafeBytes { source in
        // One frame and nothing behind it: ZSTD_decompress takes several, and skippable ones.
        guard
          unsafe ZSTD_findFrameCompressedSize(source.baseAddress, source.count) == source.count
        else { return false }
        return unsafe ZSTD_decompressDCtx(
          context, target.baseAddress, target.count, source.baseAddress, source.count)
          == target.count
      }
    }
  }
}

/// What section 6 asks of a frame's header beyond RFC 8878, section 3.1.1.1.
enum ZstdFrame {
  /// Magic number, descriptor, length of the content.
  private static let magic: UInt32 = 0xFD2F_B528
  /// Single segment, no dictionary, reserved bits zero. The checksum and the length of
  /// Frame_Content_Size are free.
  private static let descriptorMask: UInt8 = 0b0011_1011
  private static let descriptor: UInt8 = 0b0010_0000

  static func isPlain(_ body: RawSpan, rawBytes: Int) -> Bool {
    guard body.byteCount >= 6 else { return false }
    var cursor = ByteCursor(body)
    guard cursor.littleEndianUInt32() == magic else { return false }
    let found = body.byte(at: 4)
    guard found & descriptorMask == descriptor else { return false }
    // Flag 0 is one byte here, 1 two with 256 added, 2 four, 3 eight.
    let count = 1 << Int(found >> 6)
    guard body.byteCount >= 5 + count else { return false }
    var bytes: UInt64 = 0
    for index in 0..<count { bytes |= UInt64(body.byte(at: 5 + index)) << UInt64(8 * index) }
    if count == 2 { bytes += 256 }
    return bytes == UInt64(rawBytes)
  }
}
