// Invariants:
// - `stubsave-qmp-proxy` takes vchan-socket-proxy's command line as getopt_long(3) takes it, and gives what is
//   not libxl's QMP to libxl's own program, word for word;
// - what it is not told stands in a file, whose faults are named by line, and which nobody but root has
//   written;
// - it never starts itself.

import Foundation
import TestSupport
import Testing

@Suite(.fewAtOnce, .timeLimit(.minutes(5)))
struct QMPProxyProgramTests {
  let bench: Workbench
  init() async throws {
    bench = try Workbench()
    try await bench.shell(
      """
      ln -s "$STUBSAVE" stubsave-qmp-proxy
      printf '#!/bin/sh\\nprintf "%%s\\\\n" "$@"\\n' >own && chmod 755 own
      """)
  }

  private func proxy(
    _ words: [String], exits code: Int32 = 0, sourceLocation: SourceLocation = #_sourceLocation
  ) async throws -> Outcome {
    let outcome = try await bench.run(bench.url("stubsave-qmp-proxy"), words)
    outcome.check(words, code, isText: true, sourceLocation)
    return outcome
  }

  private var own: String { bench.url("own").path }

  @Test(arguments: [["--help"], ["-h"], ["--he"]])
  func `its help`(words: [String]) async throws {
    try Golden.expect(try await proxy(words).text, "stubsave-qmp-proxy")
  }

  /// What is vchan-socket-proxy's own affair, and how libxl's program gets it.
  static let passed: [([String], [String])] = [
    (["-m", "server", "5", "/n", "/s"], ["--mode", "server", "5", "/n", "/s"]),
    (["-mserver", "-v", "5", "/n", "/s"], ["--verbose", "--mode", "server", "5", "/n", "/s"]),
    (["--mode=server", "5", "/n", "-"], ["--mode", "server", "5", "/n", "-"]),
    (["--mo", "server", "5", "/n", "3"], ["--mode", "server", "5", "/n", "3"]),
    (["5", "/n", "/s", "--mode", "server"], ["--mode", "server", "5", "/n", "/s"]),
    (["-vs", "/a", "5", "/n", "/s"], ["--verbose", "--state-path", "/a", "5", "/n", "/s"]),
    (["-s/a", "-v", "--", "5", "/n", "/s"], ["--verbose", "--state-path", "/a", "5", "/n", "/s"]),
    (["--stat=/a", "5", "/n", "/s"], ["--state-path", "/a", "5", "/n", "/s"]),
    (["-r", "1", "5", "/n", "/s"], ["--reconnect-marker=1", "5", "/n", "/s"]),
    (["-r1", "5", "/n", "/s"], ["--reconnect-marker=1", "5", "/n", "/s"]),
    (["--reconnect-marker=1", "5", "/n", "/s"], ["--reconnect-marker=1", "5", "/n", "/s"]),
    // Of libxl's channel, but not for libxl.
    (
      ["5", "/local/domain/5/device-model/105/qmp-vchan", "-"],
      ["5", "/local/domain/5/device-model/105/qmp-vchan", "-"]
    ),
    (
      ["5", "/local/domain/5/device-model/105/qmp-vchan", "0x3"],
      ["5", "/local/domain/5/device-model/105/qmp-vchan", "0x3"]
    ),
  ]

  @Test(arguments: passed)
  func `what is libxl's own`(words: [String], wanted: [String]) async throws {
    #expect(try await proxy(["--program", own] + words).lines == wanted)
    try bench.put(Data("program \(own)\n".utf8), "conf")
    try await bench.shell("chmod 644 conf")
    #expect(try await proxy(["--config", "conf"] + words).lines == wanted)
  }

  /// What goes over us: we want to know more of the stubdomain than libxl's program does.
  @Test(arguments: [["-m", "client"], ["--mode=client"], []])
  func `what is libxl's QMP`(words: [String]) async throws {
    try bench.put(Data("program \(own)\nxenstore /nowhere/xenstored\n".utf8), "conf")
    try await bench.shell("chmod 644 conf")
    let outcome = try await proxy(
      ["--config", "conf"] + words
        + ["5", "/local/domain/5/device-model/105/qmp-vchan", "/nowhere/socket"], exits: 9)
    #expect(outcome.complaints.contains("/nowhere/xenstored: xenstore"))
    #expect(outcome.lines.isEmpty)
  }

  @Test(
    arguments: [
      [], ["5", "/n"], ["5", "/n", "/s", "more"], ["-x", "5", "/n", "/s"], ["--mode"],
      ["-m", "both", "5", "/n", "/s"], ["--bogus", "5", "/n", "/s"], ["five", "/n", "/s"],
      ["-r", "256", "5", "/n", "/s"], ["-s", "", "5", "/n", "/s"],
    ])
  func `wrong command lines`(words: [String]) async throws {
    #expect(try await proxy(["--program", own] + words, exits: 64).text == "")
  }

  @Test(
    arguments: [
      ("max-state 1GB", "line 3: "), ("max-stat 1", "line 3: "), ("max-state", "line 3: "),
      ("5 /n /s", "line 3: "), ("--max-state 1", "line 3: "), ("mode server", "line 3: "),
      ("accept-unverified yes", "line 3: "), ("by-file", "line 3: "), ("help", "line 3: "),
    ])
  func `a line that is wrong`(line: String, wanted: String) async throws {
    try bench.put(Data("# a comment\n\n\(line)\n".utf8), "conf")
    let outcome = try await proxy(["--config", "conf", "5", "/n", "/s"], exits: 64)
    #expect(outcome.complaints.contains("conf: \(wanted)"), "\(outcome.complaints)")
  }

  @Test func `a file`() async throws {
    let text = """
      \t # its options
      program\t \(own) \r
      max-state 128MiB
      timeout 3.5
      accept-unverified
      any-devices
      """
    try bench.put(Data(text.utf8), "conf")
    try await bench.shell("chmod 644 conf")
    #expect(try await proxy(["--config", "conf", "5", "/n", "/s"]).lines == ["5", "/n", "/s"])
    _ = try await proxy(["--config", "missing", "5", "/n", "/s"], exits: 14)
    try await bench.shell("chmod 664 conf")
    let refusal = try await proxy(["--config", "conf", "5", "/n", "/s"], exits: 8)
    #expect(refusal.complaints.contains("nobody else can write"))
    // A link to it is followed, as NixOS has in /etc.
    try await bench.shell("chmod 644 conf; ln -s conf link")
    _ = try await proxy(["--config", "link", "5", "/n", "/s"])
    try await bench.shell("mkfifo fifo")
    _ = try await proxy(["--config", "fifo", "5", "/n", "/s"], exits: 8)
  }

  @Test func `never itself`() async throws {
    let words = ["-m", "server", "5", "/n", "/s"]
    let itself = try await proxy(
      ["--program", bench.url("stubsave-qmp-proxy").path] + words, exits: 64)
    #expect(itself.complaints.contains("stubsave's own"))
    try await bench.shell(
      """
      mkdir -p root/usr/lib/xen-4.17/bin && cp own root/usr/lib/xen-4.17/bin/vchan-socket-proxy
      "$STUBSAVE" hooks install xl --root "$PWD/root"
      """)
    let hook = "root/usr/lib/xen-4.17/bin/vchan-socket-proxy"
    let refused = try await proxy(["--program", bench.url(hook).path] + words, exits: 64)
    #expect(refused.complaints.contains(".distrib"))
    #expect(
      try await proxy(["--program", bench.url(hook + ".distrib").path] + words).lines.count == 5)
  }
}
