// Invariants:
// - at every moment there is a program in libxl's place: its own, or ours, which works without
//   stubsave, too;
// - `remove` gives back what `install` has found, byte for byte, and dpkg's list as it was;
// - either can be repeated, and finishes what a killed one has begun;
// - nothing of somebody else's is overwritten, and a dry run changes nothing;
// - what is only a warning says that the program is not in that system, or that others can write to it.

import Foundation
import TestSupport
import Testing

@Suite(.fewAtOnce, .timeLimit(.minutes(5)))
struct HooksTests {
  let bench: Workbench
  init() throws {
    bench = try Workbench()
    for name in ["usr", "usr/lib", "usr/lib/xen-4.17", "usr/lib/xen-4.17/bin", "var", "var/lib"] {
      try bench.makeDirectory(name)
    }
    try bench.put(Data(Self.own.utf8), Self.place)
    try FileManager.default.setAttributes(
      [.posixPermissions: 0o755], ofItemAtPath: bench.url(Self.place).path)
  }

  private static let own = "#!/bin/sh\necho own \"$@\"\n"
  private static let place = "usr/lib/xen-4.17/bin/vchan-socket-proxy"
  private static let aside = place + ".distrib"
  private static let diversions = "var/lib/dpkg/diversions"

  private var root: String { bench.directory.path }

  private func text(_ name: String) throws -> String {
    String(decoding: try bench.bytes(name), as: UTF8.self)
  }

  private func makeDebian() throws { try bench.makeDirectory("var/lib/dpkg") }

  private func hooks(_ verb: String, _ options: String..., exits code: Int32 = 0) async throws
    -> Outcome
  {
    try await HooksTests.run(
      try Programs.stubsave(), bench, [verb, "xl", "--root", root] + options, exits: code)
  }

  /// - Returns: without the warnings.
  static func run(
    _ program: URL, _ bench: Workbench, _ words: [String], exits code: Int32 = 0,
    environment: [String: String] = [:], sourceLocation: SourceLocation = #_sourceLocation
  ) async throws -> Outcome {
    let found = try await bench.run(program, ["hooks"] + words, environment: environment)
    let lines = found.complaints.split(separator: "\n", omittingEmptySubsequences: false)
    let outcome = Outcome(
      end: found.end, output: found.output,
      complaints: lines.filter { !$0.hasPrefix("stubsave: warning: ") }.joined(separator: "\n"))
    outcome.check(words, code, isText: true, sourceLocation)
    return outcome
  }

  private func names() throws -> [String] {
    try FileManager.default.contentsOfDirectory(
      atPath: bench.url("usr/lib/xen-4.17/bin").path
    ).sorted()
  }

  @Test(arguments: [false, true])
  func `put there and taken away`(isDebian: Bool) async throws {
    if isDebian { try makeDebian() }
    #expect(try await hooks("show").text.contains("libxl's own; `stubsave hooks install xl`"))
    for _ in 0..<2 {
      _ = try await hooks("install")
      #expect(try text(Self.aside) == Self.own)
      #expect(try bench.mode(Self.place) == 0o755)
      #expect(try names() == ["vchan-socket-proxy", "vchan-socket-proxy.distrib"])
      #expect(try await hooks("show").text.contains("stubsave's; libxl's own is"))
    }
    if isDebian {
      #expect(
        try text(Self.diversions)
          == "/\(Self.place)\n/\(Self.aside)\n:\n")
    }
    for _ in 0..<2 {
      _ = try await hooks("remove")
      #expect(try text(Self.place) == Self.own)
      #expect(try bench.mode(Self.place) == 0o755)
      #expect(try names() == ["vchan-socket-proxy"])
    }
    if isDebian { #expect(try text(Self.diversions) == "") }
  }

  @Test func `ours runs stubsave, and libxl's own where there is none`() async throws {
    try bench.put(Data("#!/bin/sh\necho stubsave \"$@\"\n".utf8), "stubsave")
    // That a trailer is required is the default now; older scripts say so.
    _ = try await hooks("install", "--require-trailer")
    #expect(try text(Self.place).contains("/\(Self.aside) \"$@\""))
    _ = try await hooks(
      "install", "--max-state", "1MiB", "--timeout", "1.5", "--accept-unverified")
    let script = try text(Self.place)
    let program = try Programs.stubsave().path
    #expect(script.contains(program))
    #expect(script.contains("--program /\(Self.aside)"))
    #expect(script.contains("--max-state 1048576 --timeout 1.5 --accept-unverified \"$@\""))
    // As its system would see it.
    let moved = script.replacingOccurrences(of: "/\(Self.aside)", with: "\(root)/\(Self.aside)")
    let quoted = bench.url("stubsave").path
    for (isThere, wanted) in [
      (
        true,
        "stubsave qmp-proxy --program \(root)/\(Self.aside) --max-state 1048576 --timeout 1.5 "
          + "--accept-unverified --state-path=/a 5 b c\n"
      ), (false, "own --state-path=/a 5 b c\n"),
    ] {
      try bench.put(Data(moved.replacingOccurrences(of: program, with: quoted).utf8), "script")
      let mode = isThere ? "755" : "644"
      let outcome = try await bench.shell(
        "chmod \(mode) stubsave; exec sh ./script --state-path=/a 5 b c")
      #expect(outcome.text == wanted)
    }
  }

  @Test func `a dry run changes nothing`() async throws {
    try makeDebian()
    let said = try await hooks("install", "--dry-run")
    #expect(said.lines.count == 3 && said.lines.allSatisfy { $0.hasPrefix("would ") })
    #expect(try names() == ["vchan-socket-proxy"])
    _ = try await hooks("install")
    let before = try text(Self.place)
    #expect(try await hooks("remove", "--dry-run").lines.count == 2)
    #expect(try text(Self.place) == before)
  }

  @Test func `one that was killed before it was through`() async throws {
    try makeDebian()
    try await bench.shell("ln \(Self.place) \(Self.aside)")
    _ = try await hooks("install")
    #expect(try text(Self.aside) == Self.own)
    _ = try await hooks("remove")
    #expect(try text(Self.place) == Self.own)
  }

  @Test func `one that was killed before it had put everything back`() async throws {
    try makeDebian()
    _ = try await hooks("install")
    try await bench.shell("mv \(Self.aside) \(Self.place)")
    _ = try await hooks("remove")
    #expect(try text(Self.diversions) == "")
    #expect(try text(Self.place) == Self.own)
    try await bench.shell("ln \(Self.place) \(Self.aside)")
    _ = try await hooks("remove")
    #expect(try names() == ["vchan-socket-proxy"])
  }

  @Test func `somebody else's program is not overwritten`() async throws {
    try bench.put(Data("other".utf8), Self.aside)
    let outcome = try await hooks("install", exits: 12)
    #expect(outcome.complaints.contains(Self.aside))
    #expect(try text(Self.aside) == "other")
    #expect(try text(Self.place) == Self.own)
  }

  @Test func `a Xen that has been removed`() async throws {
    try makeDebian()
    _ = try await hooks("install")
    try await bench.shell("rm \(Self.aside)")
    #expect(try await hooks("show").text.contains("of a Xen that is no longer there"))
    let report = try await hooks("show", "--json").json(HooksJSON.self)
    #expect(report.places.map(\.state) == ["orphaned"])
    #expect(report.places.map(\.path) == ["/\(Self.place)"])
    _ = try await hooks("remove")
    #expect(try names() == [])
    #expect(try text(Self.diversions) == "")
  }

  @Test func `no Xen`() async throws {
    try await bench.shell("rm \(Self.place)")
    for verb in ["show", "install", "remove"] { _ = try await hooks(verb, exits: 14) }
  }

  private struct HooksJSON: Decodable {
    let places: [Place]
    struct Place: Decodable {
      let path: String
      let state: String
    }
  }
}
