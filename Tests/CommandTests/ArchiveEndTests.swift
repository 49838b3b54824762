// Invariants:
// - what follows the end of an archive makes it corrupt (C13), and every command says how much it is and
//   where to cut; cut there it is good;
// - a disk in a file as long as its capacity is good, whatever room is left: for `restore`, too.

import Foundation
import TestSupport
import Testing

@Suite(.fewAtOnce, .timeLimit(.minutes(5)))
struct ArchiveEndTests {
  let bench: Workbench
  init() throws { bench = try Workbench() }

  /// Of a QEMU that is not there: what the input is comes out before.
  private static let restore = ["restore", "--qmp", "nowhere", "-i"]

  private func run(_ arguments: [String]) async throws -> Outcome {
    try await bench.run(Programs.stubsave(), arguments)
  }

  // One that `restore` has in its copy, and one of which its copy has only the length.
  @Test(arguments: [1, 4096, 300_000]) func whatFollowsIsCounted(count: Int) async throws {
    try await bench.stubsave("write", "disk", input: .file(States.real))
    let end = try bench.byteCount("disk")
    try bench.put(try bench.bytes("disk") + Data(count: count), "padded")
    let follow = count == 1 ? "1 byte follows" : "\(count) bytes follow"
    let words =
      "padded: corrupt: offset \(end), disk trailing: \(follow) the end of the archive; "
      + "if that is only padding, cut a copy there: truncate -s \(end)"
    for command in [["verify"], ["read", "-o", "state"], ["inspect"], Self.restore] {
      let outcome = try await run(command + ["padded"])
      outcome.check(command, 2, isText: true, #_sourceLocation)
      #expect(outcome.complaintLines == ["stubsave: \(words)"])
    }
    let pipe = try await bench.shell("cat padded | \"$STUBSAVE\" verify -", exits: 2)
    #expect(pipe.complaints.contains("cut it there (head -c \(end)), or give the file"))
    #expect(try bench.names() == ["disk", "padded"])
    try await bench.shell("cat padded | head -c \(end) | \"$STUBSAVE\" verify -")
    try await bench.shell("truncate -s \(end) padded")
    try await bench.stubsave("verify", "padded")
    let restored = try await run(Self.restore + ["padded"])
    #expect(!restored.complaints.contains("corrupt"), "\(restored.complaints)")
  }

  @Test func theRoomOfAnAllocatedDiskIsItsOwn() async throws {
    try await bench.stubsave("allocate", "disk", "--size", "4MiB")
    try await bench.stubsave("write", "disk", input: .file(States.real))
    try await bench.stubsave("verify", "disk")
    let outcome = try await run(Self.restore + ["disk"])
    // It has come as far as to the QEMU that is not there.
    #expect(outcome.end == .exit(14), "\(outcome.complaints)")
    #expect(outcome.complaints.contains("nowhere"), "\(outcome.complaints)")
  }
}
