import SaveDisk
import TestSupport
import Testing

// Invariants:
// - numbers are read little-endian, whatever the alignment; a read past the end ends the process
//   and never reads neighbouring memory;
// - hashes are the published values of XXH3, in canonical byte order;
// - text is printable ASCII whatever goes in.

@Suite struct PrimitiveTests {
  @Test func `the cursor reads little-endian`() {
    let bytes: [UInt8] = [9, 1, 2, 3, 4, 0xF5, 0xF6, 0xF7, 0xF8, 9, 10, 11, 12] + Array(13...30)
    var cursor = ByteCursor(bytes.rawSpan.extracting(1..<bytes.count))
    #expect(cursor.littleEndianUInt32() == 0x0403_0201)
    #expect(cursor.littleEndianUInt64() == 0x0C0B_0A09_F8F7_F6F5)
    let value = cursor.bytes16()
    #expect((0..<16).map { value[$0] } == Array(13...28))
    #expect(cursor.position == 28)
  }

  @Test func `a read past the end ends the process`() async {
    await #expect(processExitsWith: .failure) {
      let bytes: [UInt8] = [1, 2, 3]
      var cursor = ByteCursor(bytes.rawSpan)
      _ = cursor.littleEndianUInt32()
    }
    await #expect(processExitsWith: .failure) {
      let bytes: [UInt8] = [1, 2, 3]
      var cursor = ByteCursor(bytes.rawSpan)
      _ = cursor.firstNonZero(count: 4)
    }
  }

  @Test func `the first byte that is not zero is found at every place`() {
    for count in [0, 1, 7, 8, 31, 32, 33, 64, 100] {
      var bytes = [UInt8](repeating: 0, count: count)
      let isZero = bytes.rawSpan.isAllZero
      #expect(isZero)
      for index in 0..<count {
        bytes[index] = 0x80
        let found = bytes.rawSpan.firstNonZero
        #expect(found == index)
        bytes[index] = 0
      }
    }
  }

  /// From xxHash's own sanity tests and `xxhsum -H3`, `xxh128sum`.
  @Test func `hashes are XXH3's`() {
    let empty: [UInt8] = []
    let text = [UInt8]("stubsave".utf8)
    let emptyHash = Hash.record(empty.rawSpan, seed: 0)
    #expect(emptyHash == 0x2D06_8005_38D3_94C2)
    let emptyDigest = Hash.digest(empty.rawSpan)
    #expect(hex(emptyDigest) == "99aa06d3014798d86001c324468d497f")
    let textDigest = Hash.digest(text.rawSpan)
    #expect(hex(textDigest) == PrimitiveTests.stubsaveDigest)
  }

  /// printf stubsave | xxh128sum
  static let stubsaveDigest = "499c40dc502745836e3cc546e3859f63"

  @Test func `a digest in pieces is the digest of the whole`() {
    var generator = SeededGenerator(seed: 5)
    let bytes = generator.bytes(5000)
    var stream = DigestStream()
    for start in stride(from: 0, to: bytes.count, by: 77) {
      stream.update(bytes.rawSpan.extracting(start..<min(start + 77, bytes.count)))
      stream.update(bytes.rawSpan.extracting(0..<0))
    }
    let inPieces = stream.value()
    let whole = Hash.digest(bytes.rawSpan)
    #expect(inPieces == whole)
    stream.reset()
    let none = stream.value()
    #expect(hex(none) == "99aa06d3014798d86001c324468d497f")
  }

  private func hex(_ value: Bytes16) -> String {
    var text = PlainText()
    text.append(hex: value)
    return String(decoding: text.bytes, as: UTF8.self)
  }

  @Test func `text is printable ASCII`() {
    var text = PlainText()
    text.append("a ")
    text.append(0)
    text.append(" ")
    text.append(UInt64.max)
    text.append(" ")
    text.append(hex: 0xBEEF, minDigits: 8)
    text.append(" ")
    text.append(hex: 0)
    text.append(" ")
    text.append(escaping: [0x1B, 0x0A, 0x41, 0x7F, 0xFF, 0x5C, 0xE2, 0x80, 0xAE, 0x00])
    text.append(" ")
    text.append(escaping: "abcdef".utf8, maxBytes: 3)
    #expect(
      String(decoding: text.bytes, as: UTF8.self)
        == #"a 0 18446744073709551615 0x0000beef 0x0 \x1b\x0aA\x7f\xff\x5c\xe2\x80\xae\x00 abc..."#)
    #expect(text.bytes.allSatisfy { $0 >= 0x20 && $0 < 0x7F })
  }

  @Test(arguments: ["qemu", "a", "0", "metadata", "x.y-z_1", String(repeating: "n", count: 32)])
  func `names that are valid`(name: String) throws {
    let bytes = [UInt8](name.utf8)
    let name = StreamName(validating: bytes.rawSpan)
    let parsed = try #require(name)
    #expect((0..<parsed.count).map { parsed[$0] } == bytes)
  }

  @Test(arguments: [
    "", ".a", "-a", "_a", "A", "a b", "a/b", "a\u{1B}", "a\n", "\u{202E}", "a\0", "é",
    String(repeating: "n", count: 33),
  ])
  func `names that are not`(name: String) {
    let bytes = [UInt8](name.utf8)
    let parsed = StreamName(validating: bytes.rawSpan)
    #expect(parsed == nil)
  }

  @Test func `codec sets`() {
    let set = CodecSet(.none, .zeros, .lz4)
    #expect(set.contains(.lz4) && !set.contains(.zlib) && !set.contains(Codec(number: 32)))
    #expect(set.isSuperset(of: .always) && !CodecSet(.none).isSuperset(of: .always))
    #expect(set.union(CodecSet(.zlib)).bits == 0b1111)
    #expect(set.intersection(CodecSet(.lz4, .zlib)) == CodecSet(.lz4))
    #expect(Codec(number: 9).name == nil)
  }
}
