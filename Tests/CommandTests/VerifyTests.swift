// Invariants:
// - every path is judged and has one line on standard output, in order; the exit code is that of
//   the first that is not good, and each of those has one line on standard error;
// - with --json the lines are documents with the same facts;
// - every fixture is judged as its manifest says, also without decoding where that finds the same;
// - --no-decode leaves out just what only decoding can find.

import Foundation
import TestSupport
import Testing

@Suite(.fewAtOnce, .timeLimit(.minutes(5)))
struct VerifyTests {
  let bench: Workbench
  init() throws { bench = try Workbench() }

  private static let paths = [
    "good/no-qemu.savedisk", "incomplete/abort-code-1.savedisk", "missing.savedisk",
    "corrupt/chunk-changed.savedisk", "good/worked-example.savedisk", ".",
  ]

  @Test func allPathsAreJudgedInOrder() async throws {
    let outcome = try await bench.run(
      Programs.stubsave(), ["verify"] + Self.paths, in: Repository.fixtures)
    outcome.check(Self.paths, 3, isText: true, #_sourceLocation)
    let words = ["good", "incomplete", "error", "corrupt", "good", "error"]
    #expect(outcome.lines.count == Self.paths.count)
    for (line, (path, word)) in zip(outcome.lines, zip(Self.paths, words)) {
      #expect(line.hasPrefix("\(path): \(word): "), "\(line)")
    }
    let bad = zip(Self.paths, words).filter { $0.1 != "good" }.map(\.0)
    #expect(outcome.complaintLines.count == bad.count)
    for (line, path) in zip(outcome.complaintLines, bad) {
      #expect(line.hasPrefix("stubsave: \(path): "), "\(line)")
    }
  }

  static let orders: [([String], Int32)] = [
    (["missing", "corrupt/chunk-changed.savedisk"], 14),
    (["corrupt/chunk-changed.savedisk", "missing"], 2),
    (["good/no-qemu.savedisk", "not-a-save-disk/png.savedisk", "missing"], 4),
    (["good/no-qemu.savedisk", "good/no-qemu.savedisk"], 0),
  ]

  @Test(arguments: orders)
  func theExitCodeIsThatOfTheFirst(paths: [String], code: Int32) async throws {
    let outcome = try await bench.run(
      Programs.stubsave(), ["verify"] + paths, in: Repository.fixtures)
    outcome.check(paths, code, isText: true, #_sourceLocation)
  }

  @Test func theKeysOfAVerdict() async throws {
    func keys(_ path: String, _ code: Int32) async throws -> Set<String> {
      let outcome = try await bench.stubsave(
        "verify", "--json", path, exits: code, in: Repository.fixtures)
      let object = try JSONSerialization.jsonObject(with: outcome.output)
      return Set(try #require(object as? [String: Any]).keys)
    }
    let always: Set = ["type", "path", "verdict", "exitCode", "streams"]
    #expect(try await keys("good/no-qemu.savedisk", 0) == always.union(["diskBytes"]))
    #expect(
      try await keys("corrupt/chunk-changed.savedisk", 2)
        == always.union(["structure", "field", "offset", "message"]))
    #expect(try await keys("missing", 14) == always.union(["message"]))
  }

  @Test func theDocumentsSayWhatTheLinesSay() async throws {
    let text = try await bench.run(
      Programs.stubsave(), ["verify"] + Self.paths, in: Repository.fixtures)
    let json = try await bench.run(
      Programs.stubsave(), ["verify", "--json"] + Self.paths, in: Repository.fixtures)
    json.check(Self.paths, 3, isText: true, #_sourceLocation)
    #expect(json.complaints == text.complaints)
    let verdicts = try json.jsonLines(VerdictJSON.self)
    #expect(verdicts.map(\.path) == Self.paths)
    #expect(verdicts.map(\.type) == Array(repeating: "verdict", count: Self.paths.count))
    #expect(verdicts.map(\.exitCode) == [0, 3, 14, 2, 0, 11])
    for (line, verdict) in zip(text.lines, verdicts) {
      if let message = verdict.message { #expect(line.hasSuffix(message)) }
      for stream in verdict.streams {
        #expect(line.contains("\(stream.name) \(stream.rawBytes) bytes"))
        #expect(line.contains(stream.xxh128))
      }
    }
  }

  @Test(arguments: [false, true])
  func everyFixtureIsJudgedAsItsManifestSays(isNotDecoding: Bool) async throws {
    let manifest = try JSONDecoder().decode(
      ManifestJSON.self, from: Data(contentsOf: Repository.fixtureURL("manifest.json")))
    // What breaks in the decoder or in a digest of decoded bytes is for the other case alone; what
    // is a state is no save disk, but `verify` knows it all the same.
    let fixtures = manifest.fixtures.filter {
      $0.limits == nil && !$0.file.hasSuffix("-state.savedisk")
        && !(isNotDecoding && ["body", "digest"].contains($0.field))
    }
    #expect(fixtures.count > 400)
    let options = ["verify", "--json"] + (isNotDecoding ? ["--no-decode"] : [])
    let outcome = try await bench.run(
      Programs.stubsave(), options + fixtures.map(\.file), in: Repository.fixtures)
    let firstBad = try #require(fixtures.first { $0.exitCode != 0 })
    outcome.check(["verify"], firstBad.exitCode, isText: true, #_sourceLocation)
    #expect(outcome.complaintLines.count == fixtures.count { $0.exitCode != 0 })

    let verdicts = try outcome.jsonLines(VerdictJSON.self)
    try #require(verdicts.count == fixtures.count)
    for (fixture, verdict) in zip(fixtures, verdicts) {
      #expect(verdict.path == fixture.file)
      #expect(verdict.exitCode == fixture.exitCode, "\(fixture.file)")
      #expect(verdict.verdict == fixture.verdict, "\(fixture.file)")
      #expect(verdict.structure == fixture.structure, "\(fixture.file)")
      #expect(verdict.field == fixture.field, "\(fixture.file)")
      #expect(verdict.offset == fixture.offset, "\(fixture.file)")
      #expect(verdict.diskBytes == fixture.diskBytes, "\(fixture.file)")
      #expect(verdict.streams.map(\.name) == (fixture.streams ?? []).map(\.name))
      #expect(verdict.streams.map(\.rawBytes) == (fixture.streams ?? []).map(\.rawBytes))
      #expect(verdict.streams.map(\.xxh128) == (fixture.streams ?? []).map(\.xxh128))
    }
  }

  @Test(arguments: [
    "corrupt/body-lz4-cut.savedisk", "corrupt/body-zlib-adler-last-byte.savedisk",
    "corrupt/chunks-swapped-commit-made-right.savedisk",
  ])
  func withoutDecodingOnlyStoredBytesCount(fixture: String) async throws {
    let path = Repository.fixture(fixture)
    try await bench.stubsave("verify", path, exits: 2)
    try await bench.stubsave("verify", "--no-decode", path)
    try await bench.stubsave("read", path, exits: 2)
  }

  @Test func limitsAndCodecs() async throws {
    let disk = Repository.fixture("good/limit-exactly-reached.savedisk")
    try await bench.stubsave("verify", disk, "--max-state", "310")
    for options in [[], ["--no-decode"]] {
      let over = try await bench.run(
        Programs.stubsave(), ["verify", disk, "--max-state", "309"] + options)
      over.check([disk], 7, isText: true, #_sourceLocation)
    }
    let lz4 = Repository.fixture("good/worked-example.savedisk")
    try await bench.stubsave("verify", lz4, "--codecs", "lz4")
    try await bench.stubsave("verify", lz4, "--codecs", "none", exits: 6)
    try await bench.stubsave("verify", lz4, "--codecs", "none", "--no-decode", exits: 6)
  }

  @Test func standardInputAndOtherStreams() async throws {
    try await bench.shell(
      """
      disk="$FIXTURES/good/worked-example.savedisk"
      "$STUBSAVE" verify - < "$disk" && cat "$disk" | "$STUBSAVE" verify -
      """)
    // An allocated disk comes through a pipe as long as it is: an archive has no more.
    try await bench.shell(
      "cat \"$FIXTURES/good/allocated-with-room.savedisk\" | \"$STUBSAVE\" verify -", exits: 2)
    try await bench.shell(
      """
      mkfifo fifo; cat "$FIXTURES/good/worked-example.savedisk" > fifo &
      "$STUBSAVE" verify fifo
      """)
    try await bench.stubsave("verify", "/dev/null", exits: 4)
    try await bench.stubsave("verify", "/dev/zero", exits: 4)
  }
}
