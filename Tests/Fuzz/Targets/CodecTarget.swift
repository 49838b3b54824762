import CFuzz
import CLZ4
import CZlib
import Codecs
import Glibc
import SaveDisk
import TestSupport
import ZstdCodec

/// A codec, which the low bits of byte 0 name. What stands behind byte 3 is decoded to as many bytes as
/// bytes 1 to 3 say; or, with bit 7 of byte 0, it is coded and decoded again.
@c(stubsave_fuzz_codec)
public func fuzzCodec(_ bytes: UnsafePointer<UInt8>?, _ count: Int) {
  guard let bytes = unsafe bytes, count > 4 else { return }
  let head = unsafe load(bytes, 4)
  let codec = Codec(number: UInt32(head[0] & 7))
  let body = unsafe source.last(count - 4)
  unsafe body.copyMemory(from: UnsafeRawBufferPointer(start: bytes + 4, count: count - 4))
  let span = unsafe RawSpan(_unsafeBytes: UnsafeRawBufferPointer(body))
  if head[0] & 0x80 == 0 {
    let wanted = Int(head[1]) | Int(head[2]) << 8 | Int(head[3]) << 16
    decode(span, codec, rawBytes: wanted % maxBytes + 1)
  } else {
    roundTrip(span, codec)
  }
}

/// Of a chunk here; longer ones take time and show nothing more.
private let maxBytes = 131_072
private nonisolated(unsafe) let source = Guarded(byteCount: maxBytes)
private nonisolated(unsafe) let target = Guarded(byteCount: maxBytes)
/// Decoding again must give the same: nothing of what lay there before may show through.
private nonisolated(unsafe) let again = Guarded(byteCount: maxBytes)

/// Its memory is kept, as by who reads a disk.
private nonisolated(unsafe) let decoder = ChunkDecoder(added: [.zstd()])

private func decode(_ body: RawSpan, _ codec: Codec, rawBytes: Int) {
  defer { noteProgress(body, codec, rawBytes) }
  let isRight = unsafe decoded(body, codec, target.last(rawBytes), fill: 0x55)
  require(unsafe decoded(body, codec, again.last(rawBytes), fill: 0xAA) == isRight, "once only")
  if !isRight { return }
  require(unsafe decoder.supported.contains(codec), "a codec that is not known")
  require(codec != .zstd || blocksFit(body, rawBytes), "a block larger than RFC 8878 allows")
  let (first, second) = unsafe (target.last(rawBytes), again.last(rawBytes))
  require(unsafe memcmp(first.baseAddress!, second.baseAddress!, rawBytes) == 0, "other bytes")
}

/// Of a body that was taken for a Zstandard frame: its blocks by their headers alone (RFC 8878, section
/// 3.1.1.2), of which libzstd takes larger ones.
private func blocksFit(_ body: RawSpan, _ rawBytes: Int) -> Bool {
  let descriptor = body.byte(at: 4)
  var at = 5 + 1 << Int(descriptor >> 6)
  var isLast = false
  while !isLast {
    guard at + 3 <= body.byteCount else { return false }
    let head =
      Int(body.byte(at: at)) | Int(body.byte(at: at + 1)) << 8 | Int(body.byte(at: at + 2)) << 16
    let (kind, size) = (head >> 1 & 3, head >> 3)
    guard kind != 3 && size <= min(rawBytes, 131_072) else { return false }
    isLast = head & 1 == 1
    at += 3 + (kind == 1 ? 1 : size)
  }
  return at + (descriptor & 4 == 0 ? 0 : 4) == body.byteCount
}

/// The libraries are not instrumented: where they stop is what there is to be guided by.
private func noteProgress(_ body: RawSpan, _ codec: Codec, _ rawBytes: Int) {
  guard rawBytes <= 4096 else { return }
  let out = unsafe target.last(rawBytes)
  let place: (kind: Int, offset: Int)? = unsafe body.withUnsafeBytes { source in
    if codec == .lz4 {
      let result = unsafe LZ4_decompress_safe(
        source.baseAddress, out.baseAddress, Int32(source.count), Int32(rawBytes))
      return (result < 0 ? 1 : 2, Int(abs(result)))
    }
    guard codec == .zlib else { return nil }
    var raw = uLong(rawBytes)
    var used = uLong(source.count)
    let code = unsafe uncompress2(out.baseAddress, &raw, source.baseAddress, &used)
    return (code == Z_OK ? 3 : 4, Int(used))
  }
  if let place { stubsave_fuzz_reached(UInt32(place.kind << 8 + min(place.offset, 255))) }
}

private func decoded(
  _ body: RawSpan, _ codec: Codec, _ memory: UnsafeMutableRawBufferPointer, fill: UInt8
) -> Bool {
  unsafe memory.initializeMemory(as: UInt8.self, repeating: fill)
  var out = unsafe MutableRawSpan(_unsafeBytes: memory)
  return unsafe decoder.decode(body, codec: codec, into: &out, rawBytes: memory.count)
}

private func roundTrip(_ raw: RawSpan, _ codec: Codec) {
  let room = unsafe again.last(raw.byteCount)
  var out = unsafe MutableRawSpan(_unsafeBytes: room)
  guard let stored = encoded(raw, codec, into: &out) else { return }
  require(stored <= raw.byteCount, "longer than before")
  let coded = unsafe RawSpan(_unsafeBytes: UnsafeRawBufferPointer(rebasing: room[..<stored]))
  let result = unsafe target.last(raw.byteCount)
  require(unsafe decoded(coded, codec, result, fill: 0x55), "does not decode")
  let isSame = unsafe raw.withUnsafeBytes {
    unsafe memcmp($0.baseAddress!, result.baseAddress!, result.count) == 0
  }
  require(isSame, "other bytes")
}

private func encoded(_ raw: RawSpan, _ codec: Codec, into out: inout MutableRawSpan) -> Int? {
  guard codec == .zstd else {
    return ChunkCodec.encode(raw, exactly: codec, into: &out, at: 0)
  }
  let allowed = CodecSet.always.union(CodecSet(.zstd))
  let coded = ChunkCoder(ZstdCodec.setting()).shrink(raw, allowed: allowed, into: &out, at: 0)
  return coded?.codec == .zstd ? coded?.storedBytes : nil
}

/// Lengths near the right one, for bodies that a compressor has made; of a Zstandard frame sometimes
/// another first block.
@c(stubsave_mutate_codec)
public func mutateCodec(
  _ bytes: UnsafeMutablePointer<UInt8>, _ count: Int, _ room: Int, _ seed: UInt32
) -> Int {
  var generator = SeededGenerator(seed: UInt64(seed))
  var input = unsafe load(bytes, count)
  guard input.count > 5, input[0] & 0x80 == 0, generator.next() % 4 == 0 else { return count }
  if input[0] & 7 == UInt8(Codec.zstd.number), input.count > 16, generator.next() % 2 == 0 {
    let block = 4 + 5 + 1 << Int(input[8] >> 6)
    if block + 3 <= input.count {
      let sizes = [0, 1, 131_071, 131_072, 131_073, (1 << 21) - 1]
      let size = sizes[Int(generator.next() % UInt64(sizes.count))]
      Mending.put(UInt64(size) << 3 | generator.next() % 8, size: 3, &input, block)
    }
    return unsafe store(input, bytes, room)
  }
  let length = Int(input[1]) | Int(input[2]) << 8 | Int(input[3]) << 16
  let choices = [length + 1, length - 1, input.count - 5, input.count - 4, 65_535, maxBytes - 1]
  let new = choices[Int(generator.next() % UInt64(choices.count))]
  Mending.put(UInt64(bitPattern: Int64(new)), size: 3, &input, 1)
  return unsafe store(input, bytes, room)
}
