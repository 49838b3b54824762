// Invariants:
// - `verify` says the same of a state by itself and of a record from `wrap`, however it comes: a file,
//   standard input, a pipe; with --json the same facts;
// - with a trailer it is good, also with zeros behind that; without it unverified, exit code 0, and with
//   --require-trailer incomplete; damaged it is what the damage has made of it;
// - `inspect` has the same exit code, and says the same of a file and of a pipe;
// - `extract` and `wrap` refuse with --require-trailer what `verify` refuses with it, and make no file;
// - of whatever `write`, `read`, `wrap` and `extract` have made, `verify` says good, or what it is.

import Foundation
import TestSupport
import Testing

@Suite(.fewAtOnce, .timeLimit(.minutes(5)))
struct StateVerdictTests {
  let bench: Workbench
  init() throws { bench = try Workbench() }

  enum Trailer: String { case good, none, corrupt, incomplete }

  /// What `verify` is to say of an input.
  struct Case: CustomTestStringConvertible, Sendable {
    let name: String
    let make: @Sendable () throws -> Data
    let code: Int32
    let word: String
    let container: String
    /// Nil if the state is not come to.
    let trailer: Trailer?
    var structure: String?
    var field: String?
    var fieldOffset: Int?
    var paddingBytes: Int?

    var testDescription: String { name }
    var isUnverified: Bool { word == "unverified" }
  }

  private static let stateFile = "state file"
  private static let recordFile = "EMULATOR_CONTEXT record"

  /// A state that QEMU wrote, without and with a trailer that has metadata; 12449 and 20705 bytes.
  private static func bare() throws -> Data {
    try Data(contentsOf: Repository.fixtureURL("states/x08-pc-min-nousb-novga.dev"))
  }

  private static func whole() throws -> Data {
    let file = try Data(contentsOf: Repository.fixtureURL("good/xl-real-state.xlsave"))
    // Behind the record's head; before the record's padding and END.
    let start = try #require(file.range(of: Data("QEVM".utf8))).lowerBound
    return file.subdata(in: start..<(start + 20705))
  }

  /// As formats/containers.md, section 8, has it, by hand.
  private static func record(_ state: Data) -> Data {
    var record = Data([3, 0, 0, 0])
    let length = UInt32(8 + state.count)
    record.append(contentsOf: (0..<4).map { UInt8(truncatingIfNeeded: length >> (8 * $0)) })
    record.append(contentsOf: [2, 0, 0, 0, 0, 0, 0, 0])
    return record + state + Data(count: (8 - state.count % 8) % 8)
  }

  private static func flipped(_ data: Data, _ offset: Int) -> Data {
    var data = data
    data[offset] ^= 1
    return data
  }

  static let cases: [Case] = [
    Case(
      name: "bare", make: { try bare() }, code: 0, word: "unverified", container: stateFile,
      trailer: Trailer.none),
    Case(
      name: "with a trailer", make: { try whole() }, code: 0, word: "good",
      container: stateFile, trailer: .good),
    Case(
      name: "padded", make: { try whole() + Data(count: 4096) }, code: 0, word: "good",
      container: stateFile, trailer: .good, paddingBytes: 4096),
    Case(
      name: "padded by one byte", make: { try whole() + Data(count: 1) }, code: 0, word: "good",
      container: stateFile, trailer: .good, paddingBytes: 1),
    Case(
      name: "cut by a byte", make: { try whole().dropLast() }, code: 3, word: "incomplete",
      container: stateFile, trailer: .incomplete, structure: "trailer", field: "end",
      fieldOffset: 20704),
    Case(
      name: "cut before its footer", make: { try whole().dropLast(64) }, code: 3,
      word: "incomplete", container: stateFile, trailer: .incomplete, structure: "trailer",
      field: "end"),
    Case(
      name: "cut before its trailer", make: { try whole().prefix(9000) }, code: 0,
      word: "unverified", container: stateFile, trailer: Trailer.none),
    Case(
      name: "cut, and padded", make: { try whole().dropLast(20) + Data(count: 4096) }, code: 2,
      word: "corrupt", container: stateFile, trailer: .corrupt, structure: "trailer",
      field: "hash"),
    Case(
      name: "flipped", make: { try flipped(whole(), 100) }, code: 2, word: "corrupt",
      container: stateFile, trailer: .corrupt, structure: "trailer", field: "stateDigest",
      fieldOffset: 20681),
    Case(
      name: "its trailer flipped", make: { try flipped(whole(), 20700) }, code: 2, word: "corrupt",
      container: stateFile, trailer: .corrupt, structure: "trailer", field: "hash",
      fieldOffset: 20697),
    Case(
      name: "something behind its trailer", make: { try whole() + Data("more".utf8) }, code: 2,
      word: "corrupt", container: stateFile, trailer: .corrupt, structure: "trailer",
      field: "trailing", fieldOffset: 20705),
    Case(
      name: "record", make: { try record(whole()) }, code: 0, word: "good", container: recordFile,
      trailer: .good),
    Case(
      name: "record of a bare state", make: { try record(bare()) }, code: 0, word: "unverified",
      container: recordFile, trailer: Trailer.none),
    Case(
      name: "padded record", make: { try record(whole()) + Data(count: 512) }, code: 0,
      word: "good", container: recordFile, trailer: .good),
    Case(
      name: "flipped record", make: { try flipped(record(whole()), 200) }, code: 2,
      word: "corrupt", container: recordFile, trailer: .corrupt, structure: "trailer",
      field: "stateDigest", fieldOffset: 16 + 20681),
    Case(
      name: "cut record", make: { try record(whole()).dropLast(9) }, code: 3, word: "incomplete",
      container: recordFile, trailer: nil, structure: "libxl EMULATOR_CONTEXT", field: "end",
      fieldOffset: 20719),
    Case(
      name: "something behind the record", make: { try record(whole()) + Data("more".utf8) },
      code: 2, word: "corrupt", container: recordFile, trailer: .good, structure: "save file",
      field: "trailing", fieldOffset: 20728),
  ]

  @Test(arguments: cases) func verifySaysTheSameHoweverItComes(this: Case) async throws {
    let data = try this.make()
    try bench.put(data, "input")
    let word = this.word
    for options in [[], ["--require-trailer"]] {
      let isRefused = this.isUnverified && !options.isEmpty
      let code = isRefused ? 3 : this.code
      let path = try await bench.run(Programs.stubsave(), ["verify", "input"] + options)
      let open = try await bench.run(
        Programs.stubsave(), ["verify", "-"] + options, input: .file(bench.url("input")))
      let pipe = try await bench.shell(
        "cat input | \"$STUBSAVE\" verify - \(options.joined())", exits: code)
      path.check(["verify", this.name], code, isText: true, #_sourceLocation)
      open.check(["verify", this.name], code, isText: true, #_sourceLocation)
      let start = "input: \(isRefused ? "incomplete" : word): "
      #expect(path.lines.count == 1 && path.lines[0].hasPrefix(start), "\(path.text)")
      #expect(path.complaintLines.count == (code == 0 ? 0 : 1))
      #expect(open.text == pipe.text && open.complaints == pipe.complaints)
      #expect(path.text.dropFirst("input".count) == pipe.text.dropFirst("-".count))
      if let bytes = this.paddingBytes {
        let follow = bytes == 1 ? "1 zero byte follows" : "\(bytes) zero bytes follow"
        #expect(path.lines[0].hasSuffix("; \(follow) the trailer; left out"))
      }
    }
  }

  @Test(arguments: cases) func theDocumentSaysIt(this: Case) async throws {
    let data = try this.make()
    try bench.put(data, "input")
    for options in [[], ["--require-trailer"]] {
      let isRefused = this.isUnverified && !options.isEmpty
      let code = isRefused ? 3 : this.code
      let path = try await bench.run(Programs.stubsave(), ["verify", "--json", "input"] + options)
      let pipe = try await bench.shell(
        "cat input | \"$STUBSAVE\" verify --json - \(options.joined())", exits: code)
      for outcome in [path, pipe] {
        outcome.check(["verify", this.name], code, isText: true, #_sourceLocation)
        let found = try outcome.json(SaveFileJSON.self)
        #expect(found.verdict == (isRefused ? "incomplete" : this.word))
        #expect(found.container == this.container)
        #expect(found.structure == (isRefused ? "trailer" : this.structure))
        #expect(found.field == (isRefused ? "end" : this.field))
        if let offset = this.fieldOffset { #expect(found.offset == offset) }
        #expect(found.state?.trailer == this.trailer?.rawValue)
        #expect(found.state?.paddingBytes == this.paddingBytes)
        if this.trailer == .good {
          #expect(found.state?.stateBytes == 12449)
          #expect(found.state?.xxh128 == "c443de67f0d82246fb48ca58c3a13d3b")
        } else {
          #expect(found.state?.xxh128 == nil)
        }
      }
    }
  }

  /// What both say of an input, but for its name.
  private static func report(_ outcome: Outcome) throws -> NSDictionary {
    let report = try #require(
      JSONSerialization.jsonObject(with: outcome.output) as? [String: Any])
    return report.filter { $0.key != "path" && $0.key != "verdict" } as NSDictionary
  }

  @Test(arguments: cases) func inspectSaysTheSame(this: Case) async throws {
    guard this.container == Self.stateFile else { return }
    try bench.put(try this.make(), "input")
    let path = try await bench.run(Programs.stubsave(), ["inspect", "--json", "input"])
    let pipe = try await bench.shell("cat input | \"$STUBSAVE\" inspect --json -", exits: this.code)
    path.check(["inspect", this.name], this.code, isText: true, #_sourceLocation)
    #expect(try Self.report(path) == Self.report(pipe))
    for outcome in [path, pipe] {
      #expect(outcome.text.contains("\"verdict\":\"\(this.word)\""))
    }
  }

  @Test(arguments: cases) func extractAndWrapRefuseTheSame(this: Case) async throws {
    let isRecord = this.container == Self.recordFile
    let command = isRecord ? "extract" : "wrap"
    try bench.put(try this.make(), "input")
    for options in [[], ["--require-trailer"]] {
      let code = this.isUnverified && !options.isEmpty ? 3 : this.code
      let outcome = try await bench.run(
        Programs.stubsave(), [command, "input", "-o", "output", "--force"] + options)
      #expect(outcome.end == .exit(code), "\(options): \(outcome.complaints)")
      let isMade = code == 0
      #expect(try bench.names() == (isMade ? ["input", "output"] : ["input"]))
      // A warning of what is unverified, a remark on what was left out, or the reason.
      let isSilent = isMade && !this.isUnverified && this.paddingBytes == nil
      #expect(outcome.complaintLines.count == (isSilent ? 0 : 1), "\(outcome.complaints)")
      guard isMade else { continue }
      let state =
        this.trailer == .good ? try Self.whole() : isRecord ? try Self.bare() : try this.make()
      expectSame(try bench.bytes("output"), isRecord ? state : Self.record(state))
      try FileManager.default.removeItem(at: bench.url("output"))
    }
  }

  @Test func ofASaveFileExtractWantsATrailer() async throws {
    let none = Repository.fixture("good/xl-without-trailer.xlsave")
    let refusal = try await bench.stubsave(
      "extract", none, "-o", "state", "--require-trailer", exits: 3)
    #expect(refusal.complaints.contains("has no trailer, or was cut before it"))
    try await bench.stubsave("verify", none, "--require-trailer", exits: 3)
    let good = Repository.fixture("good/xl.xlsave")
    try await bench.stubsave("verify", good, "--require-trailer")
    try await bench.stubsave("extract", good, "-o", "state", "--require-trailer")
    #expect(try bench.names() == ["state"])
  }

  @Test func whatTheCommandsMakeIsVerified() async throws {
    try bench.put(try Self.bare(), "bare")
    try bench.put(try Self.whole(), "whole")
    for name in ["bare", "whole"] {
      let word = name == "bare" ? "unverified" : "good"
      try await bench.stubsave("write", "disk", "--force", input: .file(bench.url(name)))
      try await bench.stubsave("read", "disk", "-o", "read", "--force")
      try expectSame(bench.bytes("read"), bench.bytes(name))
      // Their warnings are those of the cases above.
      _ = try await bench.run(Programs.stubsave(), ["wrap", "read", "-o", "record", "--force"])
      _ = try await bench.run(Programs.stubsave(), ["extract", "record", "-o", "out", "--force"])
      try expectSame(bench.bytes("out"), bench.bytes(name))
      let verdicts = try await bench.stubsave("verify", "disk", "read", "record", "out")
      #expect(verdicts.lines.count == 4)
      for (line, start) in zip(
        verdicts.lines,
        ["disk: good: ", "read: \(word): ", "record: \(word): ", "out: \(word): "])
      {
        #expect(line.hasPrefix(start), "\(line)")
      }
    }
  }
}
