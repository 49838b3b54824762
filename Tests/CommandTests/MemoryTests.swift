// Invariants:
// - `write` and `read -o` of 300 MiB take less than 64 MiB of memory at their peak: the state
//   streams through, whatever its length;
// - it comes back unchanged.

import Foundation
import Testing

@Suite(.fewAtOnce, .timeLimit(.minutes(5)))
struct MemoryTests {
  let bench: Workbench
  init() throws { bench = try Workbench() }

  private static let maxResidentKiB = 64 << 10
  private static let isSanitized = ProcessInfo.processInfo.environment["STUBSAVE_SANITIZER"] != nil

  /// Prints 300 MiB: a block of noise again and again, each time behind another number.
  private static let generator = """
    number=1000
    while [ $number -lt 1300 ]; do printf %d $number; cat block; number=$((number + 1)); done
    """

  @Test func aLargeStateStreamsThrough() async throws {
    try bench.put(States.random((1 << 20) - 4), "block")
    let written = try await peak(["write", "disk", "--max-state", "300MiB"], Self.generator)
    // A sanitizer's own memory would count too.
    if !Self.isSanitized { #expect(written < Self.maxResidentKiB) }
    #expect(try bench.byteCount("disk") > 300 << 20)

    let read = try await peak(["read", "-", "-o", "state", "--max-state", "300MiB"], "cat disk")
    if !Self.isSanitized { #expect(read < Self.maxResidentKiB) }
    try await bench.shell("{ \(Self.generator)\n} | cmp - state")
  }

  /// The peak of a program's resident memory, in KiB, once it has taken all of what the script
  /// prints: it then waits for more or for the end, which comes after the look.
  private func peak(_ arguments: [String], _ script: String) async throws -> Int {
    let pipe = Pipe()
    let running = try bench.start(
      Programs.stubsave(), arguments, input: pipe.fileHandleForReading)
    try await bench.feed(pipe.fileHandleForWriting, script)
    let status = try String(
      contentsOfFile: "/proc/\(running.process.processIdentifier)/status", encoding: .utf8)
    try pipe.fileHandleForWriting.close()
    let outcome = try await running.outcome()
    outcome.check(arguments, 0, isText: true, #_sourceLocation)
    let line = try #require(status.firstMatch(of: /VmHWM:\s+([0-9]+) kB/))
    return try #require(Int(line.1))
  }
}
