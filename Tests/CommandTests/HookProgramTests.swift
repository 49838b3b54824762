// Invariants:
// - a script names the program by a path that a shell takes as it is, or is not written;
// - whoever else may decide what root then runs is named.

import Foundation
import TestSupport
import Testing

@Suite(.fewAtOnce, .timeLimit(.minutes(5)))
struct HookProgramTests {
  let bench: Workbench
  init() async throws {
    bench = try Workbench()
    try await bench.shell(
      """
      mkdir -p root/usr/lib/xen-4.17/bin root/var/lib/dpkg
      printf '#!/bin/sh\\n' >\(Self.place)
      chmod 755 \(Self.place)
      """)
  }

  private static let place = "root/usr/lib/xen-4.17/bin/vchan-socket-proxy"

  private var root: String { bench.url("root").path }

  private func hooks(
    _ verb: String, exits code: Int32 = 0, program: URL,
    sourceLocation: SourceLocation = #_sourceLocation
  ) async throws -> Outcome {
    try await HooksTests.run(
      program, bench, [verb, "xl", "--root", root], exits: code, sourceLocation: sourceLocation)
  }

  private func text(_ name: String) throws -> String {
    String(decoding: try bench.bytes(name), as: UTF8.self)
  }

  /// A copy of stubsave below the root.
  private func program(_ name: String) async throws -> URL {
    let url = bench.url("root/\(name)")
    try FileManager.default.createDirectory(
      at: url.deletingLastPathComponent(), withIntermediateDirectories: true)
    do {
      try FileManager.default.linkItem(at: try Programs.stubsave(), to: url)
    } catch {
      try FileManager.default.copyItem(at: try Programs.stubsave(), to: url)
    }
    return url
  }

  @Test(arguments: ["a b/stub save", "it's/stub\"save", "$x`y`/\\stubsave;", "\u{E4}/stubsave"])
  func `paths that are quoted`(path: String) async throws {
    _ = try await hooks("install", program: try await program(path))
    // Between the words of the third line: what a shell takes it for.
    let line = try text(Self.place).split(separator: "\n")[2]
    #expect(line.hasPrefix("if [ -x ") && line.hasSuffix(" ]; then"))
    let word = line.dropFirst("if [ -x ".count).dropLast(" ]; then".count)
    let found = try await bench.run(
      URL(fileURLWithPath: "/bin/sh"), ["-c", "printf %s \(word)"])
    #expect(found.text == "/\(path)")
  }

  @Test(arguments: ["a\nb/stubsave", "a\tb/stubsave", "stub\u{7F}save"])
  func `paths that are refused`(path: String) async throws {
    _ = try await hooks("install", exits: 6, program: try await program(path))
    #expect(try text(Self.place) == "#!/bin/sh\n")
  }

  @Test func `a program that is gone`() async throws {
    let program = try await program("usr/bin/stubsave")
    let gone = try await bench.shell(
      "exec 3<\"$P\"; rm \"$P\"; /proc/self/fd/3 hooks install xl --root \(root)", exits: 14,
      environment: ["P": program.path])
    #expect(gone.complaints.contains("replaced"))
    #expect(try text(Self.place) == "#!/bin/sh\n")
  }

  @Test func `warnings`() async throws {
    let program = try await program("usr/bin/stubsave")
    func warnings(_ program: URL) async throws -> String {
      try await bench.run(program, ["hooks", "install", "xl", "--root", root]).complaints
    }
    #expect(try await warnings(try Programs.stubsave()).contains("no such program in that system"))
    try await bench.shell("chmod 757 root/usr/bin")
    #expect(try await warnings(program).contains("usr/bin: others than root"))
    try await bench.shell("chmod 755 root/usr/bin; chmod 1777 root/usr")
    // Owned by whoever runs the tests.
    if getuid() == 0 {
      let found = try await warnings(program)
      #expect(found == "" || found.contains("bin/stubsave: others"), "\(found)")
    }
  }
}
