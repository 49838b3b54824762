// Invariants:
// - two writers never share a disk: the second is told "busy" and changes nothing;
// - nothing is overwritten that is read, or that has become a file meanwhile;
// - "-" is never a file's name by accident;
// - a spool that cannot be used matters only to a state that needs it.

import Foundation
import Testing

@Suite(.fewAtOnce, .timeLimit(.minutes(5)))
struct EdgeTests {
  let bench: Workbench
  init() throws { bench = try Workbench() }

  /// flock(1) holds the lock that a writer would hold.
  @Test(arguments: ["STUBSAVE", "AGENT"])
  func aSecondWriterIsToldBusy(program: String) async throws {
    try await bench.stubsave("allocate", "disk")
    let before = try bench.bytes("disk")
    let outcome = try await bench.shell(
      "flock disk \"$\(program)\" write disk < \"$STATE\" 2>&1", exits: 5)
    #expect(
      outcome.text.contains("disk: another program has locked it")
        || outcome.text.contains("disk: flock: Resource temporarily unavailable"))
    try expectSame(bench.bytes("disk"), before)
    try await bench.shell("\"$\(program)\" write disk < \"$STATE\"")
  }

  @Test func aSecondWriterDoesNotEmptyTheFirstOnesFile() async throws {
    try bench.put(Data(), "disk")
    try await bench.shell("flock disk \"$STUBSAVE\" write disk < \"$STATE\"", exits: 5)
    #expect(try bench.byteCount("disk") == 0)
  }

  @Test func theDiskItselfIsNoOutput() async throws {
    try await bench.stubsave("write", "disk", input: .file(States.real))
    let before = try bench.bytes("disk")
    try FileManager.default.linkItem(at: bench.url("disk"), to: bench.url("other"))
    for output in ["disk", "./disk", "other"] {
      try await bench.stubsave("read", "disk", "-o", output, "--force", exits: 12)
    }
    try expectSame(bench.bytes("disk"), before)
  }

  @Test func theDiskItselfIsNoState() async throws {
    try await bench.stubsave("allocate", "disk")
    try await bench.shell("\"$STUBSAVE\" write disk < disk", exits: 64)
    try await bench.stubsave("verify", "disk", exits: 3)
  }

  @Test func aDashIsNoDisk() async throws {
    try await bench.stubsave("write", "-", input: .file(States.real), exits: 64)
    try await bench.stubsave("allocate", "-", exits: 64)
    #expect(try bench.names().isEmpty)
    try await bench.stubsave("write", "./-", input: .file(States.real))
    try await bench.stubsave("verify", "./-")
  }

  @Test func aDanglingLinkIsReplacedOnlyWhenForced() async throws {
    try await bench.shell("ln -s nowhere link")
    try await bench.stubsave("write", "link", input: .file(States.real), exits: 12)
    try await bench.stubsave("allocate", "link", exits: 12)
    #expect(try bench.names() == ["link"])
    try await bench.stubsave("write", "link", "--force", input: .file(States.real))
    try await bench.stubsave("verify", "link")
    #expect(try bench.names() == ["link"])
  }

  @Test func aSpoolThatCannotBeUsed() async throws {
    let nowhere = ["TMPDIR": "/nonexistent"]
    try await bench.stubsave("write", "small", input: .file(States.real))
    try await bench.stubsave("read", "small", isText: false, environment: nowhere)
    try await bench.stubsave("write", "large", input: .bytes(States.random(20 << 20)))
    let refusal = try await bench.stubsave("read", "large", exits: 14, environment: nowhere)
    #expect(refusal.output.isEmpty)
    #expect(refusal.complaints.contains("/nonexistent: cannot hold a state of more than 16 MiB"))
  }

  @Test func aSpoolWithoutUnnamedFiles() async throws {
    // ramfs and tmpfs have them; /proc takes no file at all.
    try await bench.stubsave("write", "large", input: .bytes(States.random(20 << 20)))
    try await bench.stubsave("read", "large", exits: 14, environment: ["TMPDIR": "/proc"])
  }

  @Test func aUsageErrorIsJSONToo() async throws {
    let outcome = try await bench.stubsave("verify", "--json", exits: 64)
    #expect(outcome.text.contains(#""exitCode":64"#) && outcome.text.contains(#""type":"error""#))
  }

  @Test func aFileSizeLimitIsAnError() async throws {
    try bench.put(Data(), "empty")
    for disk in ["new", "empty"] {
      try await bench.shell(
        "ulimit -f 100; \"$STUBSAVE\" write \(disk) --codec none < \"$STATE\"", exits: 11)
    }
    #expect(try bench.names() == ["empty"])
    #expect(try bench.byteCount("empty") == 0)
  }
}
