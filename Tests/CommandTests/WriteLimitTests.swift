// Invariants:
// - a disk that is too small gives 7 and names the bytes that it would need: a disk of just that
//   size takes the state, one of a block less does not; the disk then is incomplete, with the
//   abort code 3;
// - a state over --max-state, or over the header's limit, gives 7, one byte less is taken; of a new
//   file nothing stays, an empty one is empty again;
// - what is no file and no disk is refused at once, and a source that fails is an error, never the
//   end of the state.

import Foundation
import Testing

@Suite(.fewAtOnce, .timeLimit(.minutes(5)))
struct WriteLimitTests {
  let bench: Workbench
  init() throws { bench = try Workbench() }

  @Test(arguments: ["auto", "none", "zlib"], ["64KiB", "256KiB"])
  func theSizeThatIsNeededIsExact(codec: String, chunkSize: String) async throws {
    let state = States.mixed(500_000)
    func write(_ size: Int, exits code: Int32) async throws -> Outcome {
      try await bench.stubsave(
        "allocate", "disk", "--size", "\(size)", "--chunk-size", chunkSize, "--force")
      let id = try bench.transferID("disk")
      let outcome = try await bench.stubsave(
        "write", "disk", "--codec", codec, input: .bytes(state), exits: code)
      #expect(try bench.byteCount("disk") == size)
      #expect(try bench.transferID("disk") == id)
      return outcome
    }
    let refusal = try await write(8192, exits: 7)
    let match = try #require(
      refusal.complaints.firstMatch(of: /it has 8192 bytes, this state needs ([0-9]+)/))
    let needed = try #require(Int(match.1))
    #expect(needed % 4096 == 0)

    let again = try await write(needed - 4096, exits: 7)
    #expect(again.complaints.contains("this state needs \(needed)\n"))
    let verdict = try await bench.stubsave("verify", "--json", "disk", exits: 3)
      .json(VerdictJSON.self)
    #expect(verdict.verdict == "incomplete")
    #expect(verdict.structure == "abort" && verdict.field == "code")
    #expect(try #require(verdict.message).contains("code 3"))
    let refused = try await bench.stubsave("read", "disk", exits: 3)
    #expect(refused.output.isEmpty)
    // It holds a log now.
    try await bench.stubsave("write", "disk", input: .bytes(state), exits: 12)

    _ = try await write(needed, exits: 0)
    let verified = try await bench.stubsave("verify", "--json", "disk").json(VerdictJSON.self)
    #expect(verified.diskBytes == needed)
    let read = try await bench.stubsave("read", "disk", isText: false)
    expectSame(read.output, state)
  }

  @Test(arguments: [1000, 262_144, 300_000])
  func maxStateIsExact(limit: Int) async throws {
    let over = States.random(limit + 1)
    let refusal = try await bench.stubsave(
      "write", "disk", "--max-state", "\(limit)", input: .bytes(over), exits: 7)
    #expect(refusal.complaints.contains("--max-state"))
    #expect(try bench.names().isEmpty)

    try bench.put(Data(), "empty")
    let inode = try bench.inode("empty")
    try await bench.stubsave(
      "write", "empty", "--max-state", "\(limit)", input: .bytes(over), exits: 7)
    #expect(try bench.bytes("empty").isEmpty)
    #expect(try bench.inode("empty") == inode)

    try await bench.stubsave(
      "write", "disk", "--max-state", "\(limit)", input: .bytes(over.dropLast()))
    let read = try await bench.stubsave("read", "disk", isText: false)
    expectSame(read.output, over.dropLast())
  }

  @Test func aMaxStateOfZeroTakesOnlyNothing() async throws {
    try await bench.stubsave(
      "write", "disk", "--max-state", "0", input: .bytes(Data("x".utf8)), exits: 7)
    #expect(try bench.names().isEmpty)
    try await bench.stubsave("write", "disk", "--max-state", "0")
    try await bench.stubsave("verify", "disk", "--max-state", "0")
  }

  @Test func theDefaultOfMaxStateIs64MiB() async throws {
    try await bench.shell("head -c 67108865 /dev/zero | \"$STUBSAVE\" write disk", exits: 7)
    #expect(try bench.names().isEmpty)
    try await bench.shell("head -c 67108864 /dev/zero | \"$STUBSAVE\" write disk")
    try await bench.stubsave("verify", "disk")
  }

  @Test func theHeadersLimitHoldsToo() async throws {
    let state = States.random(1001)
    try await bench.stubsave("allocate", "disk", "--max-state", "1000")
    let refusal = try await bench.stubsave("write", "disk", input: .bytes(state), exits: 7)
    #expect(refusal.complaints.contains("1000 bytes"))
    #expect(!refusal.complaints.contains("--max-state raises"))
    let verdict = try await bench.stubsave("verify", "--json", "disk", exits: 3)
      .json(VerdictJSON.self)
    #expect(try #require(verdict.message).contains("code 2"))

    try await bench.stubsave("allocate", "disk", "--max-state", "1000", "--force")
    try await bench.stubsave("write", "disk", input: .bytes(state.dropLast()))
  }

  @Test(arguments: [[], ["--force"]])
  func whatIsNoFileIsRefusedAtOnce(options: [String]) async throws {
    try bench.makeDirectory("directory")
    try await bench.shell("mkfifo fifo")
    for target in ["directory", "fifo", "/dev/full", "/dev/null"] {
      let outcome = try await bench.run(
        Programs.stubsave(), ["write", target] + options, input: .file(States.real))
      outcome.check([target], 6, isText: true, #_sourceLocation)
    }
    try await bench.stubsave("write", "missing/disk", input: .file(States.real), exits: 14)
    #expect(try bench.names() == ["directory", "fifo"])
    try await bench.shell("test -p fifo && test -c /dev/full && test -c /dev/null")
  }

  @Test func aSourceThatFails() async throws {
    // read(2) of a directory gives EISDIR.
    try await bench.shell("\"$STUBSAVE\" write new < .", exits: 11)
    #expect(try bench.names().isEmpty)
    try await bench.stubsave("allocate", "disk")
    try await bench.shell("\"$STUBSAVE\" write disk < .", exits: 11)
    let verdict = try await bench.stubsave("verify", "--json", "disk", exits: 3)
      .json(VerdictJSON.self)
    #expect(try #require(verdict.message).contains("code 1"))
  }

  @Test(arguments: ["STUBSAVE", "AGENT"])
  func aClosedStandardInputIsNoState(program: String) async throws {
    try await bench.stubsave("allocate", "disk")
    let outcome = try await bench.shell(
      "\"$\(program)\" write disk <&- 2>complaint; echo $?; \"$STUBSAVE\" verify disk 2>&1; true")
    #expect(outcome.lines[0] != "0")
    #expect(!outcome.lines[1].contains("good"))
  }

  @Test func withStandardOutputClosedTheDiskIsRight() async throws {
    try await bench.shell("\"$STUBSAVE\" write disk < \"$STATE\" >&-")
    try await bench.shell("\"$STUBSAVE\" read disk | cmp - \"$STATE\"")
    try await bench.shell("\"$STUBSAVE\" write other --json < \"$STATE\" >&-", exits: 11)
    try await bench.shell("\"$STUBSAVE\" read other | cmp - \"$STATE\"")
  }
}
