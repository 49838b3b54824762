import CLZ4
import CZlib
import SaveDisk

/// Codes and decodes single chunks over liblz4 and zlib. No state is kept between chunks.
public enum ChunkCodec {
  /// Codecs that this build can decode.
  public static let supported = CodecSet(.none, .zeros, .lz4, .zlib)

  /// zlib 1: 176 MB/s at a ratio of 6.2; zlib 6: 53 MB/s at 6.6 (half ELF, half zeros, measured
  /// on a Zen 3 core). The slow levels do not pay here.
  private static let zlibLevel: Int32 = 1

  /// How one chunk was coded.
  public struct Coded: Equatable, Sendable {
    public let codec: Codec
    public let storedBytes: Int

    public init(codec: Codec, storedBytes: Int) {
      self.codec = codec
      self.storedBytes = storedBytes
    }
  }

  /// Codes `raw` to `offset` of `out` by section 9's rule: zeros, then what the setting says,
  /// then none.
  ///
  /// - Parameters:
  ///   - raw: 1 byte to 1 MiB.
  ///   - allowed: codecs that the header allows.
  ///   - out: at least `offset + raw.byteCount` bytes.
  public static func encode(
    _ raw: RawSpan, setting: CodecSetting, allowed: CodecSet, into out: inout MutableRawSpan,
    at offset: Int
  ) -> Coded {
    ChunkCoder(setting).encode(raw, allowed: allowed, into: &out, at: offset)
  }

  /// Codes with the very codec given, as a record of an existing disk has it.
  ///
  /// - Returns: the stored length, or nil if the codec does not make the chunk smaller (or, for
  ///   zeros, if it is not all zeros).
  public static func encode(
    _ raw: RawSpan, exactly codec: Codec, into out: inout MutableRawSpan, at offset: Int
  ) -> Int? {
    switch codec {
    case .none:
      out.put(raw, at: offset)
      return raw.byteCount
    case .zeros: return raw.isAllZero ? 0 : nil
    default:
      return compress(raw, codec: codec, into: &out, at: offset, room: raw.byteCount - 1)
    }
  }

  /// The stored length, or nil if it would be more than `room` bytes.
  static func compress(
    _ raw: RawSpan, codec: Codec, into out: inout MutableRawSpan, at offset: Int, room: Int
  ) -> Int? {
    precondition(offset >= 0 && room <= out.byteCount - offset && raw.byteCount < 1 << 30)
    guard room > 0 else { return nil }
    return unsafe out.withUnsafeMutableBytes { destination in
      unsafe raw.withUnsafeBytes { source -> Int? in
        let target = unsafe destination.baseAddress! + offset
        switch codec {
        case .lz4:
          let stored = unsafe LZ4_compress_default(
            source.baseAddress!, target, Int32(source.count), Int32(room))
          return stored > 0 ? Int(stored) : nil
        case .zlib:
          var stored = uLong(room)
          let code = unsafe compress2(
            target, &stored, source.baseAddress!, uLong(source.count), zlibLevel)
          return code == Z_OK ? Int(stored) : nil
        default: return nil
        }
      }
    }
  }

  /// Decodes `body` to the first `rawBytes` bytes of `out`.
  ///
  /// Safe on any bytes: writes nothing beyond `rawBytes`, reads nothing beyond `body`.
  ///
  /// - Returns: false unless the body was used up exactly and gave exactly `rawBytes` bytes.
  public static func decode(
    _ body: RawSpan, codec: Codec, into out: inout MutableRawSpan, rawBytes: Int
  ) -> Bool {
    precondition(rawBytes > 0 && rawBytes <= out.byteCount && body.byteCount < 1 << 30)
    switch codec {
    case .none:
      guard body.byteCount == rawBytes else { return false }
      out.put(body, at: 0)
      return true
    case .zeros:
      guard body.isEmpty else { return false }
      out.zero(from: 0, count: rawBytes)
      return true
    case .lz4, .zlib:
      guard !body.isEmpty else { return false }
      return decompress(body, codec: codec, into: &out, rawBytes: rawBytes)
    default: return false
    }
  }

  private static func decompress(
    _ body: RawSpan, codec: Codec, into out: inout MutableRawSpan, rawBytes: Int
  ) -> Bool {
    unsafe out.withUnsafeMutableBytes { destination in
      unsafe body.withUnsafeBytes { source in
        if codec == .lz4 {
          // Uses up the source exactly, or fails (lz4.h).
          let raw = unsafe LZ4_decompress_safe(
            source.baseAddress!, destination.baseAddress!, Int32(source.count), Int32(rawBytes))
          return raw == Int32(rawBytes)
        }
        var raw = uLong(rawBytes)
        var used = uLong(source.count)
        let code = unsafe uncompress2(
          destination.baseAddress!, &raw, source.baseAddress!, &used)
        return code == Z_OK && raw == uLong(rawBytes) && used == uLong(source.count)
      }
    }
  }
}
