// Invariants:
// - `write`, `read` and `verify` tell how far they are where they are asked to, as JSON lines that end
//   with one that says so, and nowhere else;
// - standard output and the exit code are what they are without it; who does not listen ends nothing;
// - where standard error is no terminal, nothing is told unless it was asked for.

import Foundation
import TestSupport
import Testing

@Suite(.fewAtOnce, .timeLimit(.minutes(5)))
struct ProgressTests {
  let bench: Workbench
  init() throws { bench = try Workbench() }

  private struct ProgressJSON: Decodable {
    let type: String
    let doneBytes: Int
    let totalBytes: Int?
    let bytesPerSecond: Int
    let isLast: Bool
  }

  /// Several of the decoder's notes long.
  private static let stateBytes = 20_000_000

  private func lines(_ text: String) throws -> [ProgressJSON] {
    try text.split(separator: "\n").map {
      try JSONDecoder().decode(ProgressJSON.self, from: Data($0.utf8))
    }
  }

  private func expectEnd(_ text: String, done: ClosedRange<Int>, total: Int?) throws {
    let told = try lines(text)
    let last = try #require(told.last)
    #expect(told.allSatisfy { $0.type == "progress" } && told.filter(\.isLast).count == 1)
    #expect(last.isLast && done.contains(last.doneBytes) && last.totalBytes == total)
  }

  @Test func linesOfJSON() async throws {
    let state = States.random(Self.stateBytes)
    let written = try await bench.run(
      Programs.stubsave(), ["write", "disk", "--progress", "json"], input: .bytes(state))
    #expect(written.end == .exit(0) && written.output.isEmpty)
    try expectEnd(
      written.complaints, done: Self.stateBytes...Self.stateBytes, total: Self.stateBytes)
    let bytes = try bench.byteCount("disk")
    let judged = try await bench.run(
      Programs.stubsave(), ["verify", "disk", "--progress", "json"])
    #expect(judged.end == .exit(0))
    #expect(judged.lines.count == 1 && judged.text.contains("disk: good"))
    // The decoder tells of every 8 MiB, and of the end.
    try expectEnd(judged.complaints, done: bytes...bytes, total: bytes)
    let read = try await bench.run(
      Programs.stubsave(), ["read", "disk", "-o", "out", "--progress", "json"])
    #expect(read.end == .exit(0))
    try expectEnd(read.complaints, done: bytes...bytes, total: bytes)
    expectSame(try bench.bytes("out"), state)
  }

  /// Small ones, and those of which most is passed over.
  @Test func theLastLineSaysAll() async throws {
    try await bench.stubsave("write", "disk", input: .file(States.real))
    for (name, place) in [
      ("xl", "good/xl-real-state.xlsave"), ("suspended", "good/suspend.suspend"),
      ("state", "states/x08-pc-min-nousb-novga.dev"),
    ] {
      try bench.put(Data(contentsOf: Repository.fixtureURL(place)), name)
    }
    // Behind its end is more than the disk has.
    try bench.put(bench.bytes("suspended") + Data(count: 3 << 20), "behind")
    for name in ["disk", "xl", "suspended", "state", "behind"] {
      let bytes = try bench.byteCount(name)
      for (path, total) in [(name, bytes as Int?), ("-", nil)] {
        let from = total == nil ? "cat \(name) | " : ""
        let outcome = try await bench.shell(
          from + "\"$STUBSAVE\" verify \(path) --progress json --progress-fd 3 3> told")
        #expect(outcome.complaints.isEmpty)
        try expectEnd(
          String(decoding: try bench.bytes("told"), as: UTF8.self), done: bytes...bytes,
          total: total)
      }
    }
  }

  @Test func whatIsNotGoodIsNotDone() async throws {
    let state = States.random(Self.stateBytes)
    try await bench.stubsave("write", "disk", input: .bytes(state))
    var disk = try bench.bytes("disk")
    let bytes = disk.count
    disk[bytes / 2] ^= 1
    try bench.put(disk, "disk")
    for words in [["verify", "disk"], ["read", "disk", "-o", "out"]] {
      let outcome = try await bench.run(Programs.stubsave(), words + ["--progress", "json"])
      #expect(outcome.end == .exit(2))
      let told = outcome.complaintLines.filter { $0.hasPrefix("{") }.joined(separator: "\n")
      try expectEnd(told, done: bytes / 4...bytes / 2, total: bytes)
    }
  }

  @Test func anOpenFileGetsThem() async throws {
    try bench.put(States.random(Self.stateBytes), "state")
    let outcome = try await bench.shell(
      "\"$STUBSAVE\" write disk --progress-fd 3 < state 3> told")
    #expect(outcome.complaints.isEmpty)
    try expectEnd(
      String(decoding: try bench.bytes("told"), as: UTF8.self),
      done: Self.stateBytes...Self.stateBytes, total: Self.stateBytes)
    try await bench.shell("\"$STUBSAVE\" verify disk --progress-fd 9", exits: 64)
  }

  @Test func whoDoesNotListenEndsNothing() async throws {
    try bench.put(States.random(Self.stateBytes), "state")
    try await bench.shell(
      "{ \"$STUBSAVE\" write disk --progress-fd 3 < state; } 3>&1 >&2 | exec true")
    try await bench.stubsave("verify", "disk")
  }

  @Test func nothingUnlessAskedFor() async throws {
    let outcome = try await bench.stubsave(
      "write", "disk", input: .bytes(States.random(Self.stateBytes)))
    #expect(outcome.complaints.isEmpty)
    for arguments in [["verify", "disk"], ["read", "disk", "-o", "out"]] {
      let quiet = try await bench.run(Programs.stubsave(), arguments)
      #expect(quiet.complaints.isEmpty)
    }
  }
}
