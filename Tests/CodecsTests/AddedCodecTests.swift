import Codecs
import SaveDisk
import TestSupport
import Testing
import ZstdCodec

// Invariants:
// - what zstd and libdeflate encode is decoded to the same bytes, at every level, every length, and
//   by the library that judges;
// - nothing is written beyond the room or the raw length, whatever the body.

@Suite struct AddedCodecTests {
  static func encode(_ raw: [UInt8], _ setting: CodecSetting) -> (codec: Codec, body: [UInt8]) {
    ChunkCodecTests.encode(
      raw, setting, allowed: ChunkCodec.supported.union(CodecSet(.zstd)))
  }

  /// Nil if the body is refused. Says so if anything behind `rawBytes` was touched.
  static func decode(_ body: [UInt8], _ codec: Codec, rawBytes: Int) -> [UInt8]? {
    let decoder = ChunkDecoder(added: [.zstd()])
    var out = [UInt8](repeating: 0xEE, count: rawBytes + 64)
    var span = out.mutableSpan
    var bytes = unsafe span.mutableBytes
    let isRight = decoder.decode(body.rawSpan, codec: codec, into: &bytes, rawBytes: rawBytes)
    #expect(out[rawBytes...].allSatisfy { $0 == 0xEE }, "wrote beyond the raw length")
    return isRight ? [UInt8](out[..<rawBytes]) : nil
  }

  @Test(arguments: [1, 3, 19]) func `zstd at levels`(level: Int) {
    for raw in ChunkCodecTests.samples() {
      let (codec, body) = Self.encode(raw, ZstdCodec.setting(level: level))
      #expect(Self.decode(body, codec, rawBytes: raw.count) == raw)
      if codec == .zstd { #expect(body.count < raw.count) }
    }
  }

  @Test(arguments: [1, 6, 12]) func `libdeflate at levels`(level: Int) {
    for raw in ChunkCodecTests.samples() {
      let (codec, body) = Self.encode(raw, DeflateCodec.setting(level: level))
      #expect(codec != .zstd && ChunkCodecTests.decode(body, codec, rawBytes: raw.count) == raw)
    }
  }

  @Test func `a megabyte is one segment at every level`() {
    let raw = [UInt8](String(repeating: "a page of a guest ", count: 58_255).utf8)
    let largest = [UInt8]((raw + raw).prefix(1 << 20))
    for level in [1, 5, 19] {
      let (codec, body) = Self.encode(largest, ZstdCodec.setting(level: level))
      #expect(codec == .zstd && body[4] & 0x20 != 0)
      #expect(Self.decode(body, codec, rawBytes: largest.count) == largest)
    }
  }

  @Test func `a zstd body of another length is refused`() {
    let raw = [UInt8](String(repeating: "abc", count: 1000).utf8)
    let (codec, body) = Self.encode(raw, ZstdCodec.setting())
    #expect(codec == .zstd)
    #expect(Self.decode(body, codec, rawBytes: raw.count - 1) == nil)
    #expect(Self.decode(body, codec, rawBytes: raw.count + 1) == nil)
    #expect(Self.decode(body + [0], codec, rawBytes: raw.count) == nil)
    #expect(Self.decode(body + body, codec, rawBytes: raw.count) == nil)
    for count in 0..<body.count {
      #expect(Self.decode([UInt8](body.prefix(count)), codec, rawBytes: raw.count) == nil)
    }
  }

  @Test func `mutated zstd bodies never write beyond the raw length`() {
    var generator = SeededGenerator(seed: 9)
    for raw in ChunkCodecTests.samples() where raw.count > 13 && raw.count < 5000 {
      let (codec, body) = Self.encode(raw, ZstdCodec.setting())
      guard codec == .zstd else { continue }
      for _ in 0..<300 {
        var damaged = body
        for _ in 0...Int.random(in: 0..<3, using: &generator) {
          let index = Int.random(in: 0..<damaged.count, using: &generator)
          damaged[index] = UInt8.random(in: 0...255, using: &generator)
        }
        _ = Self.decode(damaged, codec, rawBytes: raw.count)
      }
    }
  }
}
