// Invariants:
// - of a disk that is not good nothing is handed out: no byte on standard output, no output file,
//   the verdict's exit code;
// - of a good one exactly the stream that was asked for;
// - it does not matter whether the disk is a file, standard input or a pipe;
// - states over 16 MiB wait in an unlinked file in $TMPDIR, of which nothing stays.

import Foundation
import TestSupport
import Testing

@Suite(.fewAtOnce, .timeLimit(.minutes(5)))
struct ReadTests {
  let bench: Workbench
  init() throws { bench = try Workbench() }

  static let refused: [(String, Int32)] = [
    ("corrupt/chunk-changed.savedisk", 2), ("corrupt/body-zlib-cut.savedisk", 2),
    ("corrupt/abort-after-commit.savedisk", 2), ("incomplete/abort-after-stream.savedisk", 3),
    ("incomplete/cut-8191-commit-padding-last.savedisk", 3),
    ("incomplete/allocated-untouched.savedisk", 3), ("not-a-save-disk/text.savedisk", 4),
    ("not-a-save-disk/empty-file.savedisk", 4), ("unsupported/codec-31.savedisk", 6),
    ("unsupported/header-version-2.savedisk", 6), ("over-limit/zeros-bomb.savedisk", 7),
    ("unsupported/must-understand-tpm.savedisk", 6),
    ("incomplete/cut-2048-in-reserved.savedisk", 3),
  ]

  @Test func aStreamThatMustBeUnderstoodIsForWhoAsksForIt() async throws {
    let path = Repository.fixture("unsupported/must-understand-tpm.savedisk")
    for stream in ["qemu", "metadata", "pci"] {
      try await bench.stubsave("read", path, "--stream", stream, exits: 6)
    }
    let asked = try await bench.stubsave("read", path, "--stream", "tpm")
    expectSame(asked.output, Data("more".utf8))
  }

  @Test(arguments: refused) func ofADamagedDiskNothing(fixture: String, code: Int32) async throws {
    let path = Repository.fixture(fixture)
    let refusal = try await bench.stubsave("read", path, exits: code)
    #expect(refusal.output.isEmpty)
    #expect(refusal.complaintLines.count == 1)
    let failure = try await bench.stubsave("read", path, "-o", "state", "--json", exits: code)
      .json(FailureJSON.self)
    #expect(failure.exitCode == code)
    #expect(try bench.names().isEmpty)

    try bench.put(Data("older".utf8), "state")
    try await bench.stubsave("read", path, "-o", "state", "--force", exits: code)
    try expectSame(bench.bytes("state"), Data("older".utf8))
    #expect(try bench.names() == ["state"])
  }

  /// The damage comes after everything that could be handed out, in memory or in the spool.
  @Test(arguments: [600_000, 17 << 20]) func damageAtTheVeryEnd(stateBytes: Int) async throws {
    try await bench.stubsave("write", "disk", input: .bytes(States.random(stateBytes)))
    let good = try bench.bytes("disk")
    var last = good
    last[last.count - 1] = 1
    try bench.put(last, "padding")
    try bench.put(good + [0], "longer")
    try bench.put(good.dropLast(), "cut")
    try bench.makeDirectory("spool")
    let before = try bench.names()
    let spool = ["TMPDIR": bench.url("spool").path]
    for (disk, code) in [("padding", Int32(2)), ("longer", 2), ("cut", 3)] {
      let refusal = try await bench.stubsave("read", disk, exits: code, environment: spool)
      #expect(refusal.output.isEmpty)
      try await bench.stubsave("read", disk, "-o", "state", exits: code)
    }
    #expect(try bench.names() == before)
    #expect(try FileManager.default.contentsOfDirectory(atPath: bench.url("spool").path) == [])
  }

  @Test func everyStreamByItsName() async throws {
    let disk = Repository.fixture("good/two-states.savedisk")
    let states = Repository.fixtures.appendingPathComponent("states")
    let qemu = try Data(contentsOf: states.appendingPathComponent("x01-pc-min-reset.dev"))
    let other = try Data(contentsOf: states.appendingPathComponent("x08-pc-min-nousb-novga.dev"))
    try await expectSame(bench.stubsave("read", disk, isText: false).output, qemu)
    let named = try await bench.stubsave("read", disk, "--stream", "qemu", isText: false)
    expectSame(named.output, qemu)
    let second = try await bench.stubsave("read", disk, "--stream", "other", isText: false)
    expectSame(second.output, other)
  }

  @Test func theMetadataOfFourStreams() async throws {
    let disk = Repository.fixture("good/four-streams.savedisk")
    let metadata = try await bench.stubsave("read", disk, "--stream", "metadata", isText: false)
    #expect(metadata.output.count == 200)
    let qemu = try await bench.stubsave("read", disk)
    #expect(qemu.output.isEmpty)
    let report = try await bench.stubsave(
      "read", disk, "--stream", "metadata", "-o", "state", "--json"
    ).json(StreamJSON.self)
    #expect(report.name == "metadata")
    #expect(report.rawBytes == 200)
    try expectSame(bench.bytes("state"), metadata.output)
  }

  @Test func aStreamThatIsNotThere() async throws {
    let disk = Repository.fixture("good/four-streams.savedisk")
    let refusal = try await bench.stubsave("read", disk, "--stream", "qemu-2", exits: 14)
    #expect(refusal.output.isEmpty)
    try await bench.stubsave("read", disk, "--stream", "qemu-2", "-o", "state", exits: 14)
    try await bench.stubsave("read", Repository.fixture("good/no-qemu.savedisk"), exits: 14)
    #expect(try bench.names().isEmpty)
  }

  @Test func fromStandardInput() async throws {
    try await bench.stubsave("write", "disk", input: .file(States.real))
    try await bench.shell("\"$STUBSAVE\" read - < disk | cmp - \"$STATE\"")
    try await bench.shell("cat disk | \"$STUBSAVE\" read - | cmp - \"$STATE\"")
    try await bench.shell("cat disk | \"$STUBSAVE\" read - -o state && cmp state \"$STATE\"")
    try await bench.shell("{ cat disk; echo; } | \"$STUBSAVE\" read - > longer", exits: 2)
    try await bench.shell("head -c -1 disk | \"$STUBSAVE\" read - > cut", exits: 3)
    try await bench.shell(": | \"$STUBSAVE\" read - > empty", exits: 4)
    for name in ["longer", "cut", "empty"] { #expect(try bench.byteCount(name) == 0) }
  }

  @Test func whatIsNoDisk() async throws {
    try bench.makeDirectory("directory")
    try await bench.stubsave("read", "missing", exits: 14)
    try await bench.stubsave("read", "missing/disk", exits: 14)
    try await bench.stubsave("read", "directory", exits: 11)
    try await bench.stubsave("read", "/dev/null", exits: 4)
    try await bench.stubsave("read", "/dev/zero", exits: 4)
    try await bench.stubsave("read", "missing", "-o", "state", exits: 14)
    try await bench.stubsave("read", "directory", "-o", "state", exits: 11)
    #expect(try bench.names() == ["directory"])
  }

  @Test func codecsThatAreNotAccepted() async throws {
    let state = try Data(contentsOf: States.real)
    try await bench.stubsave("write", "disk", "--codec", "lz4", input: .bytes(state))
    for list in ["none", "zlib", "none,zeros,zlib"] {
      let refusal = try await bench.stubsave("read", "disk", "--codecs", list, exits: 6)
      #expect(refusal.output.isEmpty)
      #expect(refusal.complaints.contains("lz4"))
    }
    for list in ["lz4", "zlib,lz4", "none,lz4"] {
      let read = try await bench.stubsave("read", "disk", "--codecs", list, isText: false)
      expectSame(read.output, state)
    }
    try await bench.stubsave("write", "stored", "--codec", "none", input: .bytes(state))
    let read = try await bench.stubsave("read", "stored", "--codecs", "none", isText: false)
    expectSame(read.output, state)
  }

  @Test func maxStateIsExact() async throws {
    try await bench.stubsave("write", "disk", input: .bytes(States.random(300_000)))
    let refusal = try await bench.stubsave("read", "disk", "--max-state", "299999", exits: 7)
    #expect(refusal.output.isEmpty)
    let read = try await bench.stubsave("read", "disk", "--max-state", "300000", isText: false)
    expectSame(read.output, States.random(300_000))
  }

  @Test func largeStatesWaitInTheSpool() async throws {
    let state = States.random(20 << 20)
    try await bench.stubsave("write", "disk", input: .bytes(state))
    try bench.makeDirectory("spool")
    let spool = ["TMPDIR": bench.url("spool").path]
    let read = try await bench.stubsave("read", "disk", isText: false, environment: spool)
    expectSame(read.output, state)
    #expect(try FileManager.default.contentsOfDirectory(atPath: bench.url("spool").path) == [])
    #expect(try bench.names() == ["disk", "spool"])
    let missing = ["TMPDIR": bench.url("missing").path]
    let refusal = try await bench.stubsave("read", "disk", exits: 14, environment: missing)
    #expect(refusal.output.isEmpty)
    // -o FILE needs no spool, an empty TMPDIR is none.
    try await bench.stubsave("read", "disk", "-o", "state", environment: missing)
    try expectSame(bench.bytes("state"), state)
    try await bench.shell("TMPDIR= \"$STUBSAVE\" read disk | cmp - state")
  }
}
