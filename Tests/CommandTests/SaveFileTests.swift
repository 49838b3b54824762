// Invariants:
// - `inspect` shows a toolstack's save file as the golden files say, `verify` says the same of it
//   whether it is a file, standard input or a pipe;
// - `extract` gives QEMU's state and nothing else, and only of a good file;
// - `wrap` makes the record that `extract` has taken the state out of;
// - a state over 16 MiB waits in $TMPDIR, of which nothing stays.

import Foundation
import TestSupport
import Testing

@Suite(.fewAtOnce, .timeLimit(.minutes(5)))
struct SaveFileTests {
  let bench: Workbench
  init() throws { bench = try Workbench() }

  static let golden: [(String, String, Int32)] = [
    ("inspect-xl", "good/xl-real-state.xlsave", 0),
    ("inspect-libvirt", "good/libvirt.libvirtsave", 0),
    ("inspect-libxl-optional", "good/libxl-optional.libxl", 0),
    ("inspect-suspend", "good/suspend.suspend", 0),
    ("inspect-save-file-corrupt", "corrupt/xl-trailer-state-changed.xlsave", 2),
    ("inspect-save-file-cut", "incomplete/libvirt-cut-libxc-hvm-params-body.libvirtsave", 3),
  ]

  @Test(arguments: golden)
  func exactlyThis(name: String, fixture: String, code: Int32) async throws {
    let text = try await bench.stubsave("inspect", fixture, exits: code, in: Repository.fixtures)
    try Golden.expect(text.text, name)
    #expect(text.complaintLines.count == (code == 0 ? 0 : 1))
    let json = try await bench.stubsave(
      "inspect", "--json", fixture, exits: code, in: Repository.fixtures)
    try Golden.expect(json.text, "\(name).json")
    #expect(json.complaints == text.complaints)
  }

  private static func saveFiles() throws -> [ManifestJSON.SaveFile] {
    let manifest = try JSONDecoder().decode(
      ManifestJSON.self, from: Data(contentsOf: Repository.fixtureURL("manifest.json")))
    return manifest.saveFiles
  }

  @Test func verifyHoweverItComes() async throws {
    for name in [
      "good/xl.xlsave", "corrupt/libxc-pfn-type-5.libxl", "good/suspend-libxl.suspend",
    ] {
      let fixture = try #require(try Self.saveFiles().first { $0.file == name })
      let url = Repository.fixtureURL(name)
      let fromFile = try await bench.stubsave(
        "verify", "--json", "-", input: .file(url), exits: fixture.exitCode)
      let fromPipe = try await bench.shell(
        "cat '\(url.path)' | \"$STUBSAVE\" verify --json -", exits: fixture.exitCode)
      for outcome in [fromFile, fromPipe] {
        let verdict = try outcome.json(SaveFileJSON.self)
        #expect(verdict.container == fixture.container)
        #expect(verdict.offset == fixture.offset && verdict.field == fixture.field)
        #expect(verdict.containerBytes == fixture.containerBytes)
      }
    }
  }

  @Test func verifySaysWhatItRestsOn() async throws {
    let good = try await bench.stubsave(
      "verify", "good/xl.xlsave", "good/libxl-pv.libxl", "good/worked-example.savedisk",
      in: Repository.fixtures)
    #expect(good.lines.count == 3)
    let digest = "xxh128 12dbab52cf064194d5d45e197d08d2e9"
    #expect(
      good.lines[0] == "good/xl.xlsave: good: xl save file, 4683 bytes; "
        + "QEMU's state 62 bytes at 4547, trailer: good, \(digest)")
    #expect(good.lines[1].hasSuffix("; no state of QEMU's"))
    let damaged = try await bench.stubsave(
      "verify", "good/xl.xlsave", "corrupt/xl-state-empty.xlsave",
      "incomplete/xl-without-end.xlsave", exits: 2, in: Repository.fixtures)
    #expect(damaged.lines.count == 3 && damaged.complaintLines.count == 2)
    let words = "offset 4547, libxl EMULATOR_CONTEXT emulator_ctx: is no device state of QEMU's"
    #expect(damaged.lines[1] == "corrupt/xl-state-empty.xlsave: corrupt: \(words)")
  }

  /// Ends well, and may say something all the same: of a state without a trailer it does.
  private func withWarning(_ arguments: String..., environment: [String: String] = [:])
    async throws -> Outcome
  {
    let outcome = try await bench.run(Programs.stubsave(), arguments, environment: environment)
    #expect(outcome.end == .exit(0), "\(arguments): \(outcome.complaints)")
    return outcome
  }

  @Test func extractGivesTheStateAlone() async throws {
    for fixture in try Self.saveFiles() where fixture.exitCode == 0 {
      let url = Repository.fixtureURL(fixture.file)
      guard let state = fixture.state else {
        let none = try await bench.stubsave("extract", url.path, "-o", "none", exits: 14)
        #expect(none.complaintLines.count == 1)
        continue
      }
      let whole = try Data(contentsOf: url)
      let wanted = whole[state.offset..<(state.offset + state.bytes)]
      let output = try await withWarning("extract", url.path)
      expectSame(output.output, wanted)
      #expect(output.complaintLines.count == (state.trailer == "none" ? 1 : 0))
      let file = try await withWarning("extract", "--json", url.path, "-o", "state", "--force")
      let report = try file.json(ExtractedJSON.self)
      #expect(report.type == "extracted" && report.state.offset == state.offset)
      try expectSame(bench.bytes("state"), wanted)
      #expect(try bench.mode("state") == 0o600)
    }
    #expect(try bench.names() == ["state"])
  }

  static let refused: [(String, Int32)] = [
    ("corrupt/xl-zeros-from-memory.xlsave", 2), ("corrupt/xl-trailer-hash.xlsave", 2),
    ("incomplete/libxl-without-end.libxl", 3), ("good/worked-example.savedisk", 4),
    ("states/x08-pc-min-nousb-novga.dev", 4), ("unsupported/suspend-second-state.suspend", 6),
    ("over-limit/xl-state-huge.xlsave", 7), ("not-a-save-disk/gzip.foreign", 4),
    ("not-a-save-disk/xl-state-migration.xlsave", 4),
    ("corrupt/suspend-state-no-section.suspend", 2),
  ]

  /// What `verify`, `inspect` and `extract` say of what is no save file, or too old a one.
  static let named: [(String, Int32, String)] = [
    ("not-a-save-disk/gzip.foreign", 4, "gzip; decompress it first: zcat"),
    ("not-a-save-disk/zstd.foreign", 4, "zstdcat"), ("not-a-save-disk/xz.foreign", 4, "xzcat"),
    ("not-a-save-disk/qcow2.foreign", 4, "qcow2"),
    ("not-a-save-disk/elf-core.foreign", 4, "ELF core"),
    ("not-a-save-disk/xend.foreign", 4, "xend's, of Xen 4.4 or older"),
    ("not-a-save-disk/libvirt-qemu.foreign", 4, "LibvirtQemudSave"),
    ("not-a-save-disk/libxc-alone.foreign", 4, "--format libxl"),
    ("unsupported/xl-old-stream.xlsave", 6, "Xen 4.5 or older; Xen's convert-legacy-stream"),
    ("unsupported/libvirt-version-1.libvirtsave", 6, "virsh restore converts it"),
    ("unsupported/suspend-old-signature.suspend", 6, "older format, XenSavedDomain"),
  ]

  @Test(arguments: named)
  func whatIsNotOursIsNamed(name: String, code: Int32, words: String) async throws {
    for command in ["verify", "inspect", "extract"] {
      let outcome = try await bench.stubsave(command, name, exits: code, in: Repository.fixtures)
      #expect(outcome.complaints.contains(words) && outcome.complaintLines.count == 1)
    }
  }

  @Test func ofMoreThanAFileTheRestIsCounted() async throws {
    let path = Repository.fixture("good/xl-padded.xlsave")
    let line = try await bench.stubsave("verify", path).lines[0]
    #expect(
      line.contains("good: xl save file, 4683 bytes, 437 bytes behind its end are not looked at;"))
    let verdict = try await bench.stubsave("verify", "--json", path).json(SaveFileJSON.self)
    #expect(verdict.bytesBehind == 437)
    let inspection = try await bench.stubsave("inspect", path)
    #expect(
      inspection.lines[0].hasSuffix(
        "xl save file, good, 437 bytes behind its end are not looked at"))
  }

  /// END is zeros, as lost records are, and nobody says how many processors a PV guest has.
  @Test func withoutAStateWhatFollowsMakesItUnverified() async throws {
    let words = "whether records were lost cannot be told"
    for name in ["libxl-pv-padded.libxl", "xl-pvh-padded.xlsave"] {
      let path = Repository.fixture("good/\(name)")
      let line = try await bench.stubsave("verify", path).lines[0]
      #expect(line.contains(": unverified: ") && line.hasSuffix(words))
      let report = try await bench.stubsave("verify", "--json", path).json(SaveFileJSON.self)
      #expect(report.verdict == "unverified")
      let refusal = try await bench.stubsave("verify", "--require-trailer", path, exits: 3)
      #expect(refusal.complaints.contains(words))
      let none = try await bench.stubsave("extract", path, exits: 14)
      #expect(none.complaints.contains(": holds no state"))
    }
  }

  /// A record, and a file that goes on for a tebibyte.
  @Test func whatFollowsARecordEndsSomewhere() async throws {
    let given = Repository.fixture("states/x08-pc-min-nousb-novga.dev")
    _ = try await withWarning("wrap", given, "-o", "record")
    let file = try FileHandle(forWritingTo: bench.url("record"))
    try file.truncate(atOffset: 1 << 40)
    try file.close()
    let over = try await bench.stubsave("verify", "record", exits: 7)
    #expect(over.complaints.contains("zeros follow, which is more than a state is filled up with"))
  }

  @Test(arguments: refused) func ofAnyOtherFileNothing(name: String, code: Int32) async throws {
    let path = Repository.fixture(name)
    let refusal = try await bench.stubsave("extract", path, exits: code)
    #expect(refusal.output.isEmpty && refusal.complaintLines.count == 1)
    let failure = try await bench.stubsave("extract", path, "-o", "x", "--json", exits: code)
    #expect(try failure.json(FailureJSON.self).exitCode == code)
    #expect(try bench.names().isEmpty)
  }

  @Test func nothingIsDestroyed() async throws {
    let path = Repository.fixture("good/xl.xlsave")
    try bench.put(Data("older".utf8), "state")
    let given = Repository.fixture("states/x08-pc-min-nousb-novga.dev")
    for command in [["extract", path], ["wrap", given]] {
      _ = try await bench.run(Programs.stubsave(), command + ["-o", "state"])
      try expectSame(bench.bytes("state"), Data("older".utf8))
    }
    try bench.put(Data(contentsOf: URL(fileURLWithPath: path)), "file")
    try await bench.stubsave("extract", "file", "-o", "file", "--force", exits: 12)
    try await bench.stubsave("extract", "file", "-o", "state", exits: 12)
    try await bench.stubsave("wrap", "state", "-o", "record", exits: 4)
    #expect(try bench.names() == ["file", "state"])
  }

  @Test func wrapMakesTheRecord() async throws {
    let url = Repository.fixtureURL("good/xl-real-state.xlsave")
    let whole = try Data(contentsOf: url)
    try await bench.stubsave("extract", url.path, "-o", "state")
    let report = try await bench.stubsave("wrap", "--json", "state", "-o", "record")
      .json(WrappedJSON.self)
    let record = try bench.bytes("record")
    #expect(report.type == "wrapped" && report.recordBytes == record.count)
    let state = try bench.bytes("state")
    #expect(report.stateBytes == state.count && record.count % 8 == 0)
    // Before END, the last record.
    expectSame(record, whole.suffix(record.count + 8).dropLast(8))

    try bench.put(record + Data([0, 7]), "followed")
    let followed = try await bench.stubsave("verify", "followed", exits: 2)
    #expect(followed.complaints.contains("only zeros may follow the record, this is 0x7"))

    var damaged = state
    damaged[100] ^= 1
    try await bench.stubsave("wrap", "-", "-o", "other", input: .bytes(damaged), exits: 2)
    try bench.put(States.start + Data("and no trailer".utf8), "bare")
    let bare = try await withWarning("wrap", "bare")
    #expect(bare.output.count == 64 && bare.complaintLines.count == 1)
    try await bench.stubsave("wrap", "state", "-o", "other", "--max-state", "1KiB", exits: 7)
    #expect(try bench.names() == ["bare", "followed", "record", "state"])
  }

  @Test func aLargeStateWaitsInTheSpool() async throws {
    let state = States.start + States.random(17 << 20)
    try bench.put(state, "state")
    _ = try await withWarning("wrap", "state", "-o", "record")
    let small = try Data(contentsOf: Repository.fixtureURL("good/libxl-pv.libxl"))
    try bench.put(small.dropLast(8) + bench.bytes("record") + small.suffix(8), "file")
    try bench.makeDirectory("spool")
    let spool = ["TMPDIR": bench.url("spool").path]
    let output = try await withWarning("extract", "file", environment: spool)
    expectSame(output.output, state)
    let line = try await bench.stubsave("verify", "file", environment: spool).lines[0]
    #expect(line.contains("QEMU's state \(state.count) bytes"))
    let missing = ["TMPDIR": bench.url("missing").path]
    for command in ["verify", "inspect", "extract"] {
      let problem = try await bench.stubsave(command, "file", exits: 14, environment: missing)
      #expect(problem.complaints.contains("cannot hold a state of more than 16 MiB in "))
      #expect(problem.complaints.contains("/missing: openat: No such file or directory"))
    }
    let over = try await bench.stubsave("verify", "file", "--max-state", "16MiB", exits: 7)
    #expect(over.lines[0].contains("libxl EMULATOR_CONTEXT body_length"))
    let lost = try await bench.stubsave(
      "verify", "file", exits: 14, environment: ["TMPDIR": "/nonexistent"])
    #expect(lost.lines[0].contains("cannot hold a state of more than 16 MiB in "))
    #expect(try FileManager.default.contentsOfDirectory(atPath: bench.url("spool").path) == [])
  }
}

struct SaveFileJSON: Decodable {
  let type: String
  let container: String?
  let verdict: String
  let structure: String?
  let field: String?
  let offset: Int?
  let containerBytes: Int?
  let bytesBehind: Int?
  let state: State?

  struct State: Decodable {
    let offset: Int
    let bytes: Int
    let trailer: String
    let stateBytes: Int
    let xxh128: String?
    let paddingBytes: Int?
  }
}

struct ExtractedJSON: Decodable {
  let type: String
  let path: String
  let state: SaveFileJSON.State
}

struct WrappedJSON: Decodable {
  let type: String
  let stateBytes: Int
  let recordBytes: Int
}
