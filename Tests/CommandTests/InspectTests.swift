// Invariants:
// - `inspect` shows header, streams and records of a good disk, exactly as the golden files say;
// - of a disk that is not good, what comes before the damage, and then why; the exit code is the
//   verdict's;
// - text and JSON say the same.

import Foundation
import TestSupport
import Testing

@Suite(.fewAtOnce, .timeLimit(.minutes(5)))
struct InspectTests {
  let bench: Workbench
  init() throws { bench = try Workbench() }

  static let golden: [(String, String, Int32)] = [
    ("inspect-good", "good/worked-example.savedisk", 0),
    ("inspect-streams", "good/optional-everywhere.savedisk", 0),
    ("inspect-aborted", "incomplete/abort-after-stream.savedisk", 3),
    ("inspect-corrupt", "corrupt/chunks-swapped-commit-made-right.savedisk", 2),
    ("inspect-no-disk", "not-a-save-disk/png.savedisk", 4),
  ]

  @Test(arguments: golden)
  func exactlyThis(name: String, fixture: String, code: Int32) async throws {
    let text = try await bench.stubsave("inspect", fixture, exits: code, in: Repository.fixtures)
    try Golden.expect(text.text, name)
    #expect(text.complaintLines.count == (code == 0 ? 0 : 1))
    let json = try await bench.stubsave(
      "inspect", "--json", fixture, exits: code, in: Repository.fixtures)
    try Golden.expect(json.text, "\(name).json")
    #expect(json.lines.count == 1)
    #expect(json.complaints == text.complaints)
  }

  @Test func theWorkedExampleOfTheDocument() async throws {
    // formats/save-disk.md, section 12.
    let found = try await bench.stubsave(
      "inspect", "--json", Repository.fixture("good/worked-example.savedisk")
    ).json(InspectionJSON.self)
    #expect(found.type == "inspection")
    #expect(found.verdict.verdict == "good")
    #expect(found.verdict.diskBytes == 8192)
    #expect(found.header?.transferID == "1032547698badcfe0112233445566778")
    #expect(found.header?.chunkBytes == 65_536)
    #expect(found.records.map(\.offset) == [0x1000, 0x1080, 0x1100, 0x1180])
    #expect(found.records.map(\.sequence) == [0, 1, 2, 3])
    #expect(found.records.map(\.storedBytes) == [64, 19, 64, 128])
    #expect(found.records.map(\.type) == ["stream begin", "chunk", "stream end", "commit"])
    #expect(found.records[1].codec == "lz4")
    #expect(found.records[1].rawBytes == 100)
    #expect(found.streams.map(\.xxh128) == ["ddc11bdcd22528366153ea1f73811c0a"])
  }

  /// A disk with a byte damaged in each record in turn: all records before it are listed.
  @Test func theRecordsBeforeTheDamage() async throws {
    try await bench.stubsave(
      "write", "disk", "--chunk-size", "64KiB", input: .bytes(States.random(150_000)))
    let disk = try bench.bytes("disk")
    let good = try await bench.stubsave("inspect", "--json", "disk").json(InspectionJSON.self)
    #expect(good.records.count == 6)
    for (index, record) in good.records.enumerated() {
      var damaged = disk
      damaged[record.offset + 64] ^= 0x10
      try bench.put(damaged, "disk")
      let found = try await bench.stubsave("inspect", "--json", "disk", exits: 2)
        .json(InspectionJSON.self)
      #expect(found.records == Array(good.records[..<index]))
      #expect(found.header == good.header)
      #expect(found.streams == (index < 5 ? [] : good.streams))
      #expect(found.verdict.offset == record.offset)
      #expect(found.verdict.structure == "record" && found.verdict.field == "hash")
      #expect(found.verdict.streams.isEmpty)
      let text = try await bench.stubsave("inspect", "disk", exits: 2)
      #expect(text.lines[0] == "disk: corrupt")
      let message = try #require(found.verdict.message)
      #expect(text.lines.last == "then: \(message)")
      #expect(text.lines.contains("records") == (index > 0))
    }
  }

  @Test func aHeaderThatIsNotRightIsNotShown() async throws {
    let found = try await bench.stubsave(
      "inspect", "--json", Repository.fixture("unsupported/header-version-2.savedisk"), exits: 6
    ).json(InspectionJSON.self)
    #expect(found.header == nil)
    #expect(found.records.isEmpty)
    #expect(found.verdict.field == "version")
  }

  @Test func whatCannotBeRead() async throws {
    try await bench.stubsave("inspect", "missing", exits: 14)
    try await bench.stubsave("inspect", ".", exits: 11)
    let failure = try await bench.stubsave("inspect", "--json", "missing", exits: 14)
      .json(FailureJSON.self)
    #expect(failure.type == "error")
    #expect(failure.exitCode == 14)
  }

  @Test func fromStandardInput() async throws {
    let disk = Repository.fixtureURL("good/worked-example.savedisk")
    let found = try await bench.stubsave("inspect", "--json", "-", input: .file(disk))
      .json(InspectionJSON.self)
    #expect(found.verdict.path == "-")
    #expect(found.records.count == 4)
    try await bench.shell("cat '\(disk.path)' | \"$STUBSAVE\" inspect -")
  }

  @Test func limitsAndCodecs() async throws {
    let disk = Repository.fixture("good/worked-example.savedisk")
    let over = try await bench.stubsave("inspect", "--json", disk, "--max-state", "99", exits: 7)
      .json(InspectionJSON.self)
    #expect(over.records.map(\.type) == ["stream begin"])
    try await bench.stubsave("inspect", disk, "--max-state", "100")
    try await bench.stubsave("inspect", disk, "--codecs", "none", exits: 6)
  }
}
