import SaveDisk
import TestSupport
import Testing

// Invariants:
// - what is encoded is parsed again as the same header with the same hash;
// - a header is refused by the first of its checks that fails (the fixtures hold each of them),
//   and the hash comes before everything that it covers.

@Suite struct HeaderTests {
  static func encode(_ header: DiskHeader) -> [UInt8] {
    var block = [UInt8](repeating: 0xAA, count: Layout.blockBytes)
    var span = block.mutableSpan
    var bytes = unsafe span.mutableBytes
    header.encode(into: &bytes)
    return block
  }

  @Test func `a header comes back as it was`() throws {
    var header = testHeader(seed: 77, capacityBytes: 1 << 20)
    header.direction = .restore
    header.chunkBytes = 1 << 20
    header.maxRawBytes = 12345
    header.allowedCodecs = CodecSet(bits: 0x8000_0003)
    header.maxStreams = 3
    header.recipientDomid = 7
    header.targetDomid = FormatLimits.maxDomid
    header.targetUUID = Bytes16(first: 1, last: 2)
    header.compatibleFeatures = 0x8000_0001
    let parsed = try DiskHeader.parse(Self.encode(header).rawSpan)
    #expect(parsed.header == header)
    #expect(parsed.hash == DiskHeader.Parsed(new: header).hash)
  }

  @Test func `chunk sizes and capacities`() {
    let sizes = (0...UInt32(2 << 20)).lazy.filter(DiskHeader.isChunkSize)
    #expect(Array(sizes) == [65_536, 131_072, 262_144, 524_288, 1_048_576])
    for capacity in [UInt64(0), 8192, 12288, 1 << 62] { #expect(DiskHeader.isCapacity(capacity)) }
    for capacity in [UInt64(1), 4096, 8193, (1 << 62) + 4096, .max] {
      #expect(!DiskHeader.isCapacity(capacity))
    }
  }

  @Test func `a header that is cut behind its magic is incomplete, before that no save disk`() {
    let block = Self.encode(testHeader())
    for count in [0, 1, 15, 16, 17, 4080, 4095] {
      let verdict: VerdictClass = count < 16 ? .notASaveDisk : .incomplete
      let error = DiskError(
        verdict, .header, .end, at: UInt64(count), found: UInt64(count), expected: 4096)
      #expect(throws: error) { _ = try DiskHeader.parse(Array(block[..<count]).rawSpan) }
    }
    var other = block
    other[15] = 1
    let error = DiskError(.notASaveDisk, .header, .end, at: 4095, found: 4095, expected: 4096)
    #expect(throws: error) {
      _ = try DiskHeader.parse(Array(other[..<4095]).rawSpan)
    }
  }

  @Test func `damage under the hash is corruption, also in the version`() {
    for offset in [Layout.Header.version, Layout.Header.reserved, Layout.Header.hash, 4095] {
      var block = Self.encode(testHeader())
      block[offset] ^= 1
      #expect(throws: DiskError(.corrupt, .header, .hash, at: 4080)) {
        _ = try DiskHeader.parse(block.rawSpan)
      }
    }
  }
}
