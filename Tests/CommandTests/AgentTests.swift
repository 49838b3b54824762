// Invariants:
// - what the agent writes to an allocated disk, `stubsave` reads, and the other way round;
// - it writes only to a disk that is allocated and empty; anything else stays as it is to the byte;
// - of a disk that is not good it hands out nothing, and ends with the verdict's code;
// - a state that does not fit leaves an abort record, never a good disk.

import Foundation
import TestSupport
import Testing

@Suite(.fewAtOnce, .timeLimit(.minutes(5)))
struct AgentTests {
  let bench: Workbench
  init() throws { bench = try Workbench() }

  @Test(arguments: ["64KiB", "256KiB", "1MiB"])
  func thereAndBack(chunkSize: String) async throws {
    let state = States.mixed(3_000_000)
    try await bench.stubsave("allocate", "disk", "--chunk-size", chunkSize)
    let id = try bench.transferID("disk")
    let written = try await bench.agent("write", "disk", input: .bytes(state))
    #expect(written.output.isEmpty)
    #expect(try bench.transferID("disk") == id)
    #expect(try bench.byteCount("disk") == 4 << 20)
    let read = try await bench.stubsave("read", "disk", isText: false)
    expectSame(read.output, state)
    let own = try await bench.agent("read", "disk", isText: false)
    expectSame(own.output, state)
  }

  @Test func theSameBytesAsStubsave() async throws {
    try await bench.stubsave("allocate", "a", "--size", "1MiB")
    try bench.put(bench.bytes("a"), "b")
    try await bench.agent("write", "a", input: .file(States.real))
    try await bench.stubsave("write", "b", input: .file(States.real))
    try expectSame(bench.bytes("a"), bench.bytes("b"))
  }

  @Test func anArchiveOfAnyCodec() async throws {
    let state = try Data(contentsOf: States.real)
    for codec in ["none", "lz4", "zlib"] {
      try await bench.stubsave("write", codec, "--codec", codec, input: .bytes(state))
      let read = try await bench.agent("read", codec, isText: false)
      expectSame(read.output, state)
    }
    try await bench.stubsave("write", "empty")
    let empty = try await bench.agent("read", "empty")
    #expect(empty.output.isEmpty)
  }

  static let unwritable: [(String, Int32)] = [
    ("good/allocated-with-room.savedisk", 12), ("incomplete/abort-first.savedisk", 12),
    ("incomplete/cut-4224-before-chunk.savedisk", 12), ("not-a-save-disk/text.savedisk", 4),
    ("not-a-save-disk/empty-file.savedisk", 4), ("unsupported/header-version-2.savedisk", 6),
    ("corrupt/header-allowed-codecs-without-none.savedisk", 2),
  ]

  @Test(arguments: unwritable)
  func whatHoldsSomethingElseStays(fixture: String, code: Int32) async throws {
    let before = try Data(contentsOf: Repository.fixtureURL(fixture))
    try bench.put(before, "disk")
    let refusal = try await bench.agent("write", "disk", input: .file(States.real), exits: code)
    #expect(refusal.complaints.hasPrefix("stubsave-agent: disk: "))
    try expectSame(bench.bytes("disk"), before)
  }

  @Test(arguments: ReadTests.refused)
  func ofADamagedDiskNothing(fixture: String, code: Int32) async throws {
    let refusal = try await bench.agent("read", Repository.fixture(fixture), exits: code)
    #expect(refusal.output.isEmpty)
    #expect(refusal.complaintLines.count == 1)
  }

  @Test func aDiskThatIsTooSmall() async throws {
    let state = States.random(100_000)
    try await bench.stubsave("allocate", "disk", "--size", "8KiB")
    let refusal = try await bench.agent("write", "disk", input: .bytes(state), exits: 7)
    let match = try #require(refusal.complaints.firstMatch(of: /this state needs ([0-9]+)\n/))
    let verdict = try await bench.stubsave("verify", "--json", "disk", exits: 3)
      .json(VerdictJSON.self)
    #expect(try #require(verdict.message).contains("code 3"))
    try await bench.stubsave("allocate", "disk", "--size", "\(match.1)", "--force")
    try await bench.agent("write", "disk", input: .bytes(state))
    try await bench.stubsave("verify", "disk")
  }

  @Test func theHeadersLimit() async throws {
    try await bench.stubsave("allocate", "disk", "--max-state", "1000")
    try await bench.agent("write", "disk", input: .bytes(States.random(1001)), exits: 7)
    let verdict = try await bench.stubsave("verify", "--json", "disk", exits: 3)
      .json(VerdictJSON.self)
    #expect(try #require(verdict.message).contains("code 2"))
  }

  static let wrong: [[String]] = [
    [], ["write"], ["read"], ["serve"], ["serve", "disk"], ["write", "disk", "disk"], ["--help"],
    ["Write", "disk"], ["", "disk"],
  ]

  @Test(arguments: wrong) func aWrongCommandLine(arguments: [String]) async throws {
    let outcome = try await bench.run(Programs.agent(), arguments)
    outcome.check(arguments, 64, isText: true, #_sourceLocation)
    #expect(outcome.output.isEmpty)
    #expect(outcome.complaints.hasPrefix("usage: "))
    #expect(try bench.names().isEmpty)
  }

  @Test func whatIsNoDisk() async throws {
    try await bench.agent("read", "missing", exits: 14)
    try await bench.agent("write", "missing", exits: 14)
    try await bench.agent("write", "", exits: 14)
    try await bench.agent("read", ".", exits: 11)
    try await bench.agent("write", ".", exits: 11)
    try await bench.agent("read", Repository.fixture("good/no-qemu.savedisk"), exits: 14)
    #expect(try bench.names().isEmpty)
  }

  @Test func aSourceOrAnOutputThatFails() async throws {
    try await bench.stubsave("allocate", "disk")
    try await bench.shell("\"$AGENT\" write disk < .", exits: 11)
    let verdict = try await bench.stubsave("verify", "--json", "disk", exits: 3)
      .json(VerdictJSON.self)
    #expect(try #require(verdict.message).contains("code 1"))
    try await bench.stubsave("write", "good", input: .file(States.real))
    try await bench.shell("\"$AGENT\" read good >/dev/full", exits: 11)
    try await bench.shell("\"$AGENT\" read good >&-", exits: 11)
  }
}
