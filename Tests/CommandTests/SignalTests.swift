// Invariants:
// - a `write` to a new file, or one that replaces a file, that a signal ends midway leaves nothing
//   behind and the old file as it was;
// - the same for a `read -o`; and on an allocated disk, what is left is never called good.
//
// On file systems without O_TMPFILE a neighbour stays behind; there these tests fail.

import Foundation
import Testing

@Suite(.fewAtOnce, .timeLimit(.minutes(5)))
struct SignalTests {
  let bench: Workbench
  init() throws { bench = try Workbench() }

  /// Runs a program until it has consumed all of `bytes` but what a pipe holds, then sends
  /// `signal`; the pipe stays open until the program has ended.
  private func interrupt(
    _ arguments: [String], after bytes: Data, with signal: Int32,
    program: () throws -> URL = Programs.stubsave
  ) async throws -> Outcome {
    let pipe = Pipe()
    // env(1), because whoever runs the tests may ignore signals; it becomes the program.
    let running = try bench.start(
      URL(fileURLWithPath: "/usr/bin/env"),
      ["--default-signal=INT,TERM", program().path] + arguments, input: pipe.fileHandleForReading)
    try await bench.feed(pipe.fileHandleForWriting, "cat", standardInput: bytes)
    kill(running.process.processIdentifier, signal)
    let outcome = try await running.outcome()
    try pipe.fileHandleForWriting.close()
    return outcome
  }

  @Test(arguments: [SIGINT, SIGTERM, SIGKILL])
  func aNewFile(signal: Int32) async throws {
    let outcome = try await interrupt(
      ["write", "disk"], after: States.random(4 << 20), with: signal)
    #expect(outcome.end == .signal(signal))
    #expect(try bench.names().isEmpty)
  }

  @Test(arguments: [SIGINT, SIGKILL])
  func aFileThatIsReplaced(signal: Int32) async throws {
    try bench.put(Data("older".utf8), "disk")
    let outcome = try await interrupt(
      ["write", "--force", "disk"], after: States.random(4 << 20), with: signal)
    #expect(outcome.end == .signal(signal))
    #expect(try bench.names() == ["disk"])
    try expectSame(bench.bytes("disk"), Data("older".utf8))
  }

  @Test(arguments: [false, true]) func anAllocatedDisk(isAgent: Bool) async throws {
    try await bench.stubsave("allocate", "disk", "--size", "16MiB")
    let outcome = try await interrupt(
      ["write", "disk"], after: States.random(4 << 20), with: SIGKILL,
      program: isAgent ? Programs.agent : Programs.stubsave)
    #expect(outcome.end == .signal(SIGKILL))
    // Whole blocks have been written: the last record is not there, or is cut by zeros.
    let verdict = try await bench.run(Programs.stubsave(), ["verify", "--json", "disk"])
    #expect([.exit(2), .exit(3)].contains(verdict.end))
    #expect(try #require(verdict.json(VerdictJSON.self).offset) > 3 << 20)
    // It has been begun.
    try await bench.stubsave("write", "disk", input: .file(States.real), exits: 12)
  }

  @Test(arguments: [SIGINT, SIGKILL])
  func anOutputFile(signal: Int32) async throws {
    try await bench.stubsave("write", "disk", input: .bytes(States.random(4 << 20)))
    let outcome = try await interrupt(
      ["read", "-", "-o", "state"], after: try bench.bytes("disk"), with: signal)
    #expect(outcome.end == .signal(signal))
    #expect(try bench.names() == ["disk"])
  }
}

extension Workbench {
  /// Writes what a script prints into a pipe that stays open, and returns when all of it is in
  /// there: the program at the other end has taken everything but what a pipe holds, 64 KiB.
  ///
  /// A process of its own writes, so that a reader that has died is its SIGPIPE and not ours.
  func feed(
    _ pipe: FileHandle, _ script: String, standardInput: Data = Data()
  ) async throws {
    let (url, handle) = try captureFile()
    try handle.write(contentsOf: standardInput)
    let input = try FileHandle(forReadingFrom: url)
    let complaints = try captureFile()
    let feeder = Process()
    feeder.executableURL = URL(fileURLWithPath: "/bin/sh")
    feeder.arguments = ["-c", script]
    feeder.currentDirectoryURL = directory
    feeder.standardInput = input
    feeder.standardOutput = pipe
    feeder.standardError = complaints.handle
    defer { for handle in [handle, input, complaints.handle] { try? handle.close() } }
    let outcome = try await RunningProgram(feeder, output: url, complaints: complaints.url)
      .outcome()
    try #require(outcome.end == .exit(0), "the program did not take everything")
  }
}
