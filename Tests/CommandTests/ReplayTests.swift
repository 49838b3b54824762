// Invariants:
// - `verify --replay` judges every fixture of the manifest as it says, and writes every good one
//   again to the same bytes that says how it was written;
// - whatever of a manifest is made wrong is found, by the name of just that fixture.

import Foundation
import TestSupport
import Testing

@Suite(.fewAtOnce, .timeLimit(.minutes(5)))
struct ReplayTests {
  let bench: Workbench
  init() throws { bench = try Workbench() }

  private static let manifest = Repository.fixtureURL("manifest.json")

  private func counts() throws -> (all: Int, written: Int) {
    let manifest = try JSONDecoder().decode(
      ManifestJSON.self, from: Data(contentsOf: Self.manifest))
    let fixtures = manifest.fixtures
    return (fixtures.count + manifest.saveFiles.count, fixtures.count { $0.write != nil })
  }

  @Test func theFixturesAreAsRecorded() async throws {
    let (all, written) = try counts()
    let text = try await bench.stubsave("verify", "--replay", "fixtures", in: Repository.root)
    #expect(
      text.lines == [
        "\(all) fixtures judged, 0 not as recorded; "
          + "\(written) good ones written again to the same bytes"
      ])
  }

  @Test func aFalsifiedManifestIsFoundOut() async throws {
    let folders = try FileManager.default.contentsOfDirectory(atPath: Repository.fixtures.path)
    for folder in folders where !folder.contains(".") {
      try FileManager.default.createSymbolicLink(
        at: bench.url(folder), withDestinationURL: Repository.fixtureURL(folder))
    }
    let object = try JSONSerialization.jsonObject(with: Data(contentsOf: Self.manifest))
    var manifest = try #require(object as? [String: Any])
    var fixtures = try #require(manifest["fixtures"] as? [[String: Any]])
    func change(_ file: String, _ body: (inout [String: Any]) throws -> Void) throws {
      let index = try #require(fixtures.firstIndex { $0["file"] as? String == file })
      try body(&fixtures[index])
    }
    try change("good/no-qemu.savedisk") {
      var streams = try #require($0["streams"] as? [[String: Any]])
      streams[1]["xxh128"] = String(repeating: "0", count: 32)
      $0["streams"] = streams
    }
    try change("corrupt/chunk-changed.savedisk") { $0["offset"] = 4481 }
    try change("incomplete/abort-first.savedisk") { $0["verdict"] = "corrupt" }
    try change("unsupported/header-version-2.savedisk") { $0["exitCode"] = 7 }
    try change("corrupt/body-lz4-cut.savedisk") { $0["structure"] = "record" }
    try change("corrupt/body-zlib-cut.savedisk") { $0["field"] = "hash" }
    try change("good/four-streams.savedisk") { $0["bytes"] = 8193 }
    try change("good/qemu-last.savedisk") { $0["diskBytes"] = 12_288 }
    try change("good/worked-example.savedisk") { $0["write"] = ["codec": "none"] }
    try change("over-limit/state-one-byte-over.savedisk") { $0["limits"] = nil }
    try change("incomplete/cut-4192-begin-body-32.savedisk") { $0["file"] = "incomplete/gone" }
    manifest["fixtures"] = fixtures
    var saveFiles = try #require(manifest["saveFiles"] as? [[String: Any]])
    func changeSaveFile(_ file: String, _ body: (inout [String: Any]) -> Void) throws {
      let index = try #require(saveFiles.firstIndex { $0["file"] as? String == file })
      body(&saveFiles[index])
    }
    try changeSaveFile("good/xl.xlsave") { $0["container"] = "libxl stream" }
    try changeSaveFile("good/libvirt.libvirtsave") { $0["containerBytes"] = 4096 }
    try changeSaveFile("good/libxl.libxl") { $0["entryCount"] = 14 }
    try changeSaveFile("good/libxl-pv.libxl") {
      $0["state"] = ["offset": 0, "bytes": 4, "trailer": "none"]
    }
    try changeSaveFile("good/suspend.suspend") { $0["state"] = nil }
    try changeSaveFile("corrupt/xl-state-empty.xlsave") { $0["offset"] = 1 }
    try changeSaveFile("unsupported/libxl-second-state.libxl") { $0["field"] = "emulator_id" }
    try changeSaveFile("over-limit/xl-state-over-limit.xlsave") { $0["limits"] = nil }
    manifest["saveFiles"] = saveFiles
    try bench.put(JSONSerialization.data(withJSONObject: manifest), "manifest.json")

    let named = [
      "good/no-qemu.savedisk", "corrupt/chunk-changed.savedisk", "incomplete/abort-first.savedisk",
      "unsupported/header-version-2.savedisk", "corrupt/body-lz4-cut.savedisk",
      "corrupt/body-zlib-cut.savedisk", "good/four-streams.savedisk", "good/qemu-last.savedisk",
      "good/worked-example.savedisk", "over-limit/state-one-byte-over.savedisk", "incomplete/gone",
      "good/xl.xlsave", "good/libvirt.libvirtsave", "good/libxl.libxl", "good/libxl-pv.libxl",
      "good/suspend.suspend", "corrupt/xl-state-empty.xlsave",
      "unsupported/libxl-second-state.libxl", "over-limit/xl-state-over-limit.xlsave",
    ].sorted()
    let outcome = try await bench.stubsave("verify", "--json", "--replay", ".", exits: 1)
    let found = outcome.complaintLines.compactMap { line in
      line.firstMatch(of: /^stubsave: ([^:]+): ./).map { String($0.1) }
    }
    #expect(found.sorted() == named)
    #expect(outcome.complaintLines.count == named.count)
    let report = try outcome.json(ReplayJSON.self)
    let (all, written) = try counts()
    #expect(report.type == "replay")
    #expect(report.judged == all)
    let disks = named.count { $0.hasPrefix("good/") && $0.hasSuffix(".savedisk") }
    #expect(report.rewritten == written - disks)
    #expect(report.differences.map { "stubsave: \($0)" } == outcome.complaintLines)
  }

  @Test func withoutAManifest() async throws {
    try await bench.stubsave("verify", "--replay", "missing", exits: 14)
    try await bench.stubsave("verify", "--replay", ".", exits: 14)
    try bench.put(Data("{}".utf8), "manifest.json")
    try await bench.stubsave("verify", "--replay", ".", exits: 2)
    try bench.put(Data("\u{1B}[31m".utf8), "manifest.json")
    let failure = try await bench.stubsave("verify", "--json", "--replay", ".", exits: 2)
      .json(FailureJSON.self)
    #expect(failure.exitCode == 2)
  }
}
