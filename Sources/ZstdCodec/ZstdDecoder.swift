import CZstd
import Codecs
import SaveDisk

extension AddedDecoder {
  /// Zstandard's, for whoever looks at what is dom0's own (formats/save-disk.md, section 6).
  public static func zstd() -> AddedDecoder {
    let decoder = ZstdDecoder()
    return AddedDecoder(.zstd) { body, raw in decoder.decode(body, into: &raw) }
  }
}

/// Owns libzstd's memory for decompressing.
@safe final class ZstdDecoder {
  /// Made when the first such chunk comes: most disks have none.
  private var context: OpaquePointer?

  deinit {
    if let context = unsafe context { unsafe ZSTD_freeDCtx(context) }
  }

  func decode(_ body: RawSpan, into raw: inout MutableRawSpan) -> Bool {
    guard ZstdFrame.isPlain(body, rawBytes: raw.byteCount) else { return false }
    if unsafe context == nil {
      unsafe context = ZSTD_createDCtx()
      if unsafe context == nil { fatalError("out of memory for zstd") }
    }
    return unsafe raw.withUnsafeMutableBytes { target in
      unsafe body.withUnsafeBytes { source in unsafe decodeFrame(source, into: target) }
    }
  }

  /// Block by block: ZSTD_decompress takes several frames, skippable ones, and blocks that are larger
  /// than they may be. ZSTD_decompressContinue itself passes over an empty compressed block.
  private func decodeFrame(
    _ source: UnsafeRawBufferPointer, into target: UnsafeMutableRawBufferPointer
  ) -> Bool {
    guard ZSTD_isError(unsafe ZSTD_decompressBegin(context)) == 0 else { return false }
    var used = 0
    var filled = 0
    while true {
      let wanted = unsafe ZSTD_nextSrcSizeToDecompress(context)
      if wanted == 0 { return used == source.count && filled == target.count }
      guard wanted <= source.count - used else { return false }
      if unsafe ZSTD_nextInputType(context) == ZSTDnit_blockHeader,
        unsafe ZstdFrame.isEmptyCompressedBlock(source, at: used)
      {
        return false
      }
      let room = min(target.count - filled, ZstdFrame.maxBlockBytes)
      let made = unsafe ZSTD_decompressContinue(
        context, target.baseAddress! + filled, room, source.baseAddress! + used, wanted)
      guard ZSTD_isError(made) == 0 else { return false }
      used += wanted
      filled += made
    }
  }
}

/// What section 6 asks of a frame's header beyond RFC 8878, section 3.1.1.1.
enum ZstdFrame {
  /// What a block may give at most (RFC 8878, section 3.1.1.2.3).
  static let maxBlockBytes = 131_072

  /// Magic number, descriptor, length of the content.
  private static let magic: UInt32 = 0xFD2F_B528
  /// Single segment, no dictionary, reserved bits zero. The checksum and the length of
  /// Frame_Content_Size are free.
  private static let descriptorMask: UInt8 = 0b0011_1011
  private static let descriptor: UInt8 = 0b0010_0000

  /// Whether a block's header, three bytes, is of type 2 and has a Block_Size of 0: such a block has no
  /// room for its sections' headers.
  static func isEmptyCompressedBlock(_ source: UnsafeRawBufferPointer, at offset: Int) -> Bool {
    let first = unsafe source[offset]
    // Last_Block is the lowest bit, Block_Type the next two, Block_Size the rest.
    return unsafe first >> 1 == 2 && source[offset + 1] == 0 && source[offset + 2] == 0
  }

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
