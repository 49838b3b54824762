import SaveDisk
import Testing

// Invariants:
// - every offset in Layout is the one in the document's table, and no field of a table is left out;
// - the fields of a structure follow each other without gaps and end at its size.

@Suite struct LayoutTests {
  /// Fields of a structure in the code, in order, with what follows the last one.
  struct Structure: Sendable, CustomTestStringConvertible {
    let heading: String
    let size: Int
    let fields: [(name: String, offset: Int)]
    var testDescription: String { heading }
  }

  static let structures: [Structure] = [
    Structure(
      heading: "## 4 The header", size: Layout.blockBytes,
      fields: [
        ("magic", Layout.Header.magic), ("version", Layout.Header.version),
        ("requiredFeatures", Layout.Header.requiredFeatures),
        ("direction", Layout.Header.direction), ("chunkBytes", Layout.Header.chunkBytes),
        ("transferID", Layout.Header.transferID), ("capacityBytes", Layout.Header.capacityBytes),
        ("maxRawBytes", Layout.Header.maxRawBytes),
        ("allowedCodecs", Layout.Header.allowedCodecs), ("maxStreams", Layout.Header.maxStreams),
        ("recipientDomid", Layout.Header.recipientDomid),
        ("targetDomid", Layout.Header.targetDomid), ("targetUUID", Layout.Header.targetUUID),
        ("compatibleFeatures", Layout.Header.compatibleFeatures),
        ("reserved", Layout.Header.reserved), ("hash", Layout.Header.hash),
      ]),
    Structure(
      heading: "### 5.1 Record header", size: Layout.recordHeaderBytes,
      fields: [
        ("hash", Layout.Record.hash), ("type", Layout.Record.type),
        ("stream", Layout.Record.stream), ("sequence", Layout.Record.sequence),
        ("storedBytes", Layout.Record.storedBytes), ("rawBytes", Layout.Record.rawBytes),
        ("codec", Layout.Record.codec), ("reserved", Layout.Record.reserved),
      ]),
    Structure(
      heading: "### 5.3 Stream begin", size: Layout.StreamBegin.bodyBytes,
      fields: [
        ("transferID", Layout.StreamBegin.transferID),
        ("nameBytes", Layout.StreamBegin.nameBytes), ("flags", Layout.StreamBegin.flags),
        ("reserved", Layout.StreamBegin.reserved), ("name", Layout.StreamBegin.name),
      ]),
    Structure(
      heading: "### 5.5 Stream end", size: Layout.StreamEnd.bodyBytes,
      fields: [
        ("digest", Layout.StreamEnd.digest), ("rawBytes", Layout.StreamEnd.rawBytes),
        ("chunkCount", Layout.StreamEnd.chunkCount), ("reserved", Layout.StreamEnd.reserved),
      ]),
    Structure(
      heading: "### 5.6 Commit", size: Layout.Commit.bodyBytes,
      fields: [
        ("transferID", Layout.Commit.transferID), ("headerHash", Layout.Commit.headerHash),
        ("logDigest", Layout.Commit.logDigest), ("logBytes", Layout.Commit.logBytes),
        ("recordCount", Layout.Commit.recordCount), ("rawBytes", Layout.Commit.rawBytes),
        ("storedBytes", Layout.Commit.storedBytes), ("streamCount", Layout.Commit.streamCount),
        ("reserved", Layout.Commit.reserved),
      ]),
    Structure(
      heading: "### 5.7 Abort", size: Layout.Abort.bodyBytes,
      fields: [("code", Layout.Abort.code), ("reserved", Layout.Abort.reserved)]),
  ]

  @Test(arguments: structures)
  func `offsets are those of the document`(structure: Structure) throws {
    let documented = try DocumentTables().fields(after: structure.heading)
    #expect(Set(documented.keys) == Set(structure.fields.map(\.name)))
    for field in structure.fields {
      #expect(documented[field.name]?.offset == field.offset, "\(field.name)")
    }
  }

  @Test(arguments: structures)
  func `fields leave no gap`(structure: Structure) throws {
    let documented = try DocumentTables().fields(after: structure.heading)
    var expected = 0
    for field in structure.fields {
      #expect(field.offset == expected, "\(field.name)")
      expected = field.offset + (documented[field.name]?.size ?? 0)
    }
    #expect(expected == structure.size)
  }

  @Test func `the magic is the document's`() throws {
    let row = try #require(DocumentTables().rows(after: "## 4 The header").first)
    let digits = row[3].split(separator: "`", omittingEmptySubsequences: false)[1]
    let documented = digits.split(separator: " ").compactMap { UInt8($0, radix: 16) }
    #expect(documented == (0..<16).map { Layout.magic[$0] })
  }

  @Test func `record types, codecs and abort codes are the document's`() throws {
    let tables = try DocumentTables()
    let types = tables.rows(after: "The body (`storedBytes` bytes) follows").map { $0[0] }
    #expect(types == ["0x00000001", "0x00000002", "0x00000003", "0x00000004", "0x00000005"])
    for number in UInt32(0)...6 {
      #expect(RecordType(number: number).isKnown == (1...5).contains(number))
    }
    for row in tables.rows(after: "## 6 Codecs") {
      let number = try #require(UInt32(row[0]))
      #expect(Codec(number: number).name.map { "`\($0)`" } == row[1])
    }
    let codes = tables.rows(after: "### 5.7 Abort").count
    #expect(codes == 2)
    for code in UInt32(1)...5 { #expect(AbortCode(rawValue: code) != nil) }
    #expect(AbortCode(rawValue: 6) == nil)
  }

  @Test func `alignment rounds up`() {
    for (count, expected) in [(0, 0), (1, 64), (63, 64), (64, 64), (65, 128), (1 << 40, 1 << 40)] {
      #expect(Layout.aligned(count, to: 64) == expected)
      #expect(Layout.aligned(UInt64(count), to: 64) == UInt64(expected))
    }
    #expect(Layout.recordBytes(storedBytes: 0) == 64)
    #expect(Layout.recordBytes(storedBytes: 1) == 128)
    #expect(Layout.commitRecordBytes == 192)
  }
}
