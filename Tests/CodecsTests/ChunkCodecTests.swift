import Codecs
import SaveDisk
import TestSupport
import Testing

// Invariants:
// - what is encoded is decoded to the same bytes, by every codec, at every length;
// - a codec is used only if it is allowed and makes the chunk smaller; `auto` wants an eighth;
// - no body makes a decoder write beyond the raw length or read beyond the body, and a body that
//   does not give exactly the raw length is refused.

@Suite struct ChunkCodecTests {
  /// The chunk's codec and body.
  static func encode(
    _ raw: [UInt8], _ setting: CodecSetting, allowed: CodecSet = ChunkCodec.supported
  ) -> (codec: Codec, body: [UInt8]) {
    var out = [UInt8](repeating: 0xEE, count: raw.count + 10)
    var span = out.mutableSpan
    var bytes = unsafe span.mutableBytes
    let coded = ChunkCodec.encode(
      raw.rawSpan, setting: setting, allowed: allowed, into: &bytes, at: 10)
    return (coded.codec, [UInt8](out[10..<(10 + coded.storedBytes)]))
  }

  /// Nil if the body is refused. Traps if anything behind `rawBytes` was touched.
  static func decode(_ body: [UInt8], _ codec: Codec, rawBytes: Int) -> [UInt8]? {
    let guardBytes = 64
    var out = [UInt8](repeating: 0xEE, count: rawBytes + guardBytes)
    var span = out.mutableSpan
    var bytes = unsafe span.mutableBytes
    let isRight = ChunkCodec.decode(body.rawSpan, codec: codec, into: &bytes, rawBytes: rawBytes)
    #expect(out[rawBytes...].allSatisfy { $0 == 0xEE }, "wrote beyond the raw length")
    return isRight ? [UInt8](out[..<rawBytes]) : nil
  }

  static func samples() -> [[UInt8]] {
    var generator = SeededGenerator(seed: 3)
    let noise = generator.bytes(70_000)
    let text = [UInt8](String(repeating: "device state, mostly the same. ", count: 2300).utf8)
    var samples: [[UInt8]] = []
    for count in [1, 2, 7, 8, 12, 13, 100, 4095, 4096, 65_535, 65_536] {
      samples.append([UInt8](noise.prefix(count)))
      samples.append([UInt8](text.prefix(count)))
      samples.append([UInt8](repeating: 0, count: count))
      samples.append([UInt8](repeating: 0, count: count - 1) + [1])
    }
    return samples
  }

  @Test(arguments: [CodecSetting.none, .lz4, .zlib, .auto])
  func `what goes in comes out`(setting: CodecSetting) {
    for raw in Self.samples() {
      let (codec, body) = Self.encode(raw, setting)
      #expect(Self.decode(body, codec, rawBytes: raw.count) == raw)
      if raw.allSatisfy({ $0 == 0 }) {
        #expect(codec == .zeros && body.isEmpty)
      } else if codec != .none {
        #expect(body.count < raw.count)
      }
    }
  }

  @Test func `settings choose`() {
    let text = [UInt8](String(repeating: "abc", count: 1000).utf8)
    var generator = SeededGenerator(seed: 4)
    let noise = generator.bytes(3000)
    #expect(Self.encode(text, .none).codec == .none)
    #expect(Self.encode(text, .lz4).codec == .lz4)
    #expect(Self.encode(text, .zlib).codec == .zlib)
    #expect(Self.encode(text, .auto).codec == .lz4)
    for setting in [CodecSetting.lz4, .zlib, .auto] {
      #expect(Self.encode(noise, setting).codec == .none)
      #expect(Self.encode(text, setting, allowed: .always).codec == .none)
    }
    // One sixteenth compresses away: enough for lz4, not for auto.
    let mixed = [UInt8](noise.prefix(1500)) + [UInt8](repeating: 5, count: 125)
    #expect(Self.encode(mixed, .lz4).codec == .lz4)
    #expect(Self.encode(mixed, .auto).codec == .none)
  }

  @Test func `a body of another length is refused`() {
    let raw = [UInt8](String(repeating: "abc", count: 1000).utf8)
    for setting in [CodecSetting.none, .lz4, .zlib] {
      let (codec, body) = Self.encode(raw, setting)
      #expect(Self.decode(body, codec, rawBytes: raw.count - 1) == nil)
      #expect(Self.decode(body, codec, rawBytes: raw.count + 1) == nil)
      #expect(Self.decode(body + [0], codec, rawBytes: raw.count) == nil)
      #expect(Self.decode(body.dropLast(), codec, rawBytes: raw.count) == nil)
      #expect(Self.decode([], codec, rawBytes: raw.count) == nil)
    }
    #expect(Self.decode([0], .zeros, rawBytes: 5) == nil)
    #expect(Self.decode([0, 1, 2], .zstd, rawBytes: 3) == nil)
    #expect(Self.decode([0, 1, 2], Codec(number: 31), rawBytes: 3) == nil)
  }

  @Test func `mutated bodies never write beyond the raw length`() {
    var generator = SeededGenerator(seed: 6)
    for raw in Self.samples() where raw.count > 13 && raw.count < 5000 {
      for setting in [CodecSetting.lz4, .zlib] {
        let (codec, body) = Self.encode(raw, setting)
        guard codec != .none && codec != .zeros else { continue }
        for _ in 0..<200 {
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
}
