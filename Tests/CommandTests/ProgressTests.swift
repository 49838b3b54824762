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
    // The decoder tells of every 8 MiB.
    try expectEnd(judged.complaints, done: 16 << 20...bytes, total: bytes)
    let read = try await bench.run(
      Programs.stubsave(), ["read", "disk", "-o", "out", "--progress", "json"])
    #expect(read.end == .exit(0))
    try expectEnd(read.complaints, done: 16 << 20...bytes, total: bytes)
    expectSame(try bench.bytes("out"), state)
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
