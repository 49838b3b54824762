import CXXHash
import SaveDisk
import TestSupport
import Testing

// Invariant: whichever instructions this processor has, hashes are those of libxxhash, at every length,
// from every address, in one piece or in several.

@Suite struct HashTests {
  static let bytes: [UInt8] = {
    var generator = SeededGenerator(seed: 21)
    return generator.bytes(70_000)
  }()
  static let lengths = Array(0...1100) + [4095, 4096, 16_384, 65_535, 65_536, 69_000]

  @Test func `record hashes`() {
    for count in Self.lengths {
      for start in [0, 1, 7] {
        let piece = [UInt8](Self.bytes[start..<(start + count)])
        let expected = unsafe piece.withUnsafeBytes {
          unsafe XXH3_64bits_withSeed($0.baseAddress, count, 0x1234_5678_9ABC)
        }
        #expect(Hash.record(piece.rawSpan, seed: 0x1234_5678_9ABC) == expected, "\(count)")
      }
    }
  }

  @Test func `digests of pieces`() {
    for count in Self.lengths {
      let whole = [UInt8](Self.bytes[..<count])
      for piece in [1 + count / 3, 256, 65_536] {
        var stream = DigestStream()
        for start in stride(from: 0, to: count, by: piece) {
          stream.update([UInt8](whole[start..<min(start + piece, count)]).rawSpan)
        }
        #expect(stream.value() == Hash.digest(whole.rawSpan), "\(count) by \(piece)")
      }
    }
  }
}
