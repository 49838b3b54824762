import Codecs
import Foundation
import SaveDisk
import TestSupport
import Testing

// Invariants:
// - the hex dump in the document, the fixture and what the writer makes are the same bytes;
// - the document's transfer seed is the code's.

@Suite struct WorkedExampleTests {
  /// The dump between the markers, `*` filled in.
  static func documented() throws -> [UInt8] {
    let text = try Repository.text("formats/save-disk.md")
    let begin = try #require(text.range(of: "<!-- worked example: begin -->"))
    let end = try #require(text.range(of: "<!-- worked example: end -->"))
    var bytes: [UInt8] = []
    var last: [UInt8] = []
    for line in text[begin.upperBound..<end.lowerBound].split(separator: "\n") {
      let words = line.prefix { $0 != "|" }.split(separator: " ")
      guard let first = words.first, let offset = Int(first, radix: 16), first.count == 8 else {
        continue
      }
      while bytes.count < offset { bytes += last }
      try #require(bytes.count == offset)
      last = words.dropFirst().compactMap { UInt8($0, radix: 16) }
      bytes += last
    }
    return bytes
  }

  static var header: DiskHeader {
    var header = DiskHeader()
    header.transferID = Bytes16(first: 0xFEDC_BA98_7654_3210, last: 0x7867_5645_3423_1201)
    header.chunkBytes = 65_536
    return header
  }

  static var state: [UInt8] {
    [0x51, 0x45, 0x56, 0x4D, 0, 0, 0, 3] + .init(repeating: 0, count: 92)
  }

  @Test func `document, fixture and writer agree`() throws {
    let documented = try Self.documented()
    #expect(documented.count == 8192)
    #expect(documented == (try Repository.bytes("fixtures/good/worked-example.savedisk")))
    #expect(documented == (try makeDisk(Self.state, header: Self.header, setting: .lz4)))
  }

  @Test func `it reads back`() throws {
    #expect(try extract(Self.documented()) == Extraction(failure: nil, state: Self.state))
  }

  @Test func `the seed is the document's`() throws {
    let seed = Self.header.transferSeed
    #expect(seed == 0x86BB_ECDD_4277_2011)
    #expect(try Repository.text("formats/save-disk.md").contains("0x86BBECDD42772011"))
  }
}
