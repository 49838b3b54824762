import Foundation
import SaveDisk
import SystemIO
import TestSupport
import Testing
import Toolstack

// Invariants:
// - every fixture is judged as its manifest says, and every good one that the writer can make is
//   written again to the same bytes;
// - a manifest that says something else is noticed, and named.

@Suite struct ReplayTests {
  @Test func `all fixtures are as recorded`() throws {
    var replay = try Replay(directory: #require(SystemPath(Repository.fixtures.path)))
    try replay.run()
    #expect(replay.differences.map(\.text) == [])
    #expect(replay.judged >= 500)
    #expect(replay.rewritten >= 100)
  }

  @Test(arguments: [
    ("corrupt/", "\"offset\": 4", "\"offset\": 5"),
    ("corrupt/", "\"exitCode\": 2", "\"exitCode\": 3"),
    ("good/", "\"chunkCount\": 1", "\"chunkCount\": 2"),
    ("good/", "\"codec\": \"lz4\"", "\"codec\": \"none\""),
  ])
  func `a false manifest is noticed`(folder: String, rightClaim: String, wrongClaim: String) throws
  {
    let text = try Repository.text("fixtures/manifest.json")
    // The first such claim behind the first fixture of the folder.
    let start = try #require(text.range(of: "\"file\": \"\(folder)"))
    let claim = try #require(text.range(of: rightClaim, range: start.lowerBound..<text.endIndex))
    let falsified = text.replacingCharacters(in: claim, with: wrongClaim)
    let directory = FileManager.default.temporaryDirectory.appendingPathComponent(
      "stubsave-replay-\(UUID().uuidString)")
    try FileManager.default.createDirectory(at: directory, withIntermediateDirectories: true)
    defer { try? FileManager.default.removeItem(at: directory) }
    for name in try FileManager.default.contentsOfDirectory(atPath: Repository.fixtures.path)
    where name != "manifest.json" {
      try FileManager.default.createSymbolicLink(
        at: directory.appendingPathComponent(name),
        withDestinationURL: Repository.fixtures.appendingPathComponent(name))
    }
    try falsified.write(
      to: directory.appendingPathComponent("manifest.json"), atomically: true, encoding: .utf8)
    var replay = try Replay(directory: #require(SystemPath(directory.path)))
    try replay.run()
    #expect(replay.differences.count == 1)
    #expect(replay.differences.first?.text.hasPrefix(folder) == true)
  }

  @Test func `a manifest that cannot be read`() {
    #expect(throws: ToolError.self) {
      var replay = try Replay(directory: #require(SystemPath("/nonexistent")))
      try replay.run()
    }
  }
}
