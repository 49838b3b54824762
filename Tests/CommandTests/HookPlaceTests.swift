// Invariants:
// - wherever a Xen has its vchan-socket-proxy, ours is put there, and libxl's own comes back as it was;
// - Debian's wrapper in /usr/bin, which goes by its own name, is no such place;
// - what nothing can be put into is refused, with the way that is left, and named in a dry run, too;
// - an upgrade that writes a new one over ours is told from somebody's own program.

import Foundation
import TestSupport
import Testing

@Suite(.fewAtOnce, .timeLimit(.minutes(5)))
struct HookPlaceTests {
  let bench: Workbench
  init() async throws {
    bench = try Workbench()
    try await bench.shell("mkdir -p root/usr/lib root/usr/bin root/usr/local/bin")
  }

  private static let name = "vchan-socket-proxy"

  private var root: String { bench.url("root").path }

  private func hooks(
    _ verb: String, _ options: String..., exits code: Int32 = 0,
    sourceLocation: SourceLocation = #_sourceLocation
  ) async throws -> Outcome {
    try await HooksTests.run(
      try Programs.stubsave(), bench, [verb, "xl", "--root", root] + options, exits: code,
      sourceLocation: sourceLocation)
  }

  /// A program of libxl's, in ELF, of some version.
  private func put(_ path: String, _ version: Int = 1) async throws {
    try await bench.shell(
      """
      mkdir -p "$(dirname "root\(path)")"
      { cat /bin/true; printf '\(version)'; } >new && chmod 755 new && mv new "root\(path)"
      """)
  }

  private func tree() async throws -> String {
    try await bench.shell(
      "cd root && find . ! -path '*dpkg*' -printf '%p %y %m %l\\n' | sort; "
        + "find . -type f ! -path '*dpkg*' -exec cksum {} + | sort"
    ).text
  }

  private func isOurs(_ path: String) throws -> Bool {
    String(decoding: try bench.bytes("root\(path)"), as: UTF8.self).contains("stubsave hooks")
  }

  static let folders = [
    "/usr/bin", "/usr/local/bin", "/usr/lib/xen/bin", "/usr/lib/xen-4.17/bin",
    "/usr/libexec/xen/bin", "/usr/local/lib/xen/bin", "/usr/local/libexec/xen/bin",
    "/opt/xen-4.20/bin", "/opt/xen/bin", "/usr/local/xen-4.21/bin",
  ]

  @Test(arguments: folders, [false, true])
  func `a place`(folder: String, isDebian: Bool) async throws {
    if isDebian { try await bench.shell("mkdir -p root/var/lib/dpkg") }
    let path = "\(folder)/\(Self.name)"
    try await put(path)
    let before = try await tree()
    _ = try await hooks("install")
    #expect(try isOurs(path))
    #expect(try await hooks("show").text.hasPrefix("\(path): stubsave's; libxl's own is"))
    _ = try await hooks("remove")
    #expect(try await tree() == before)
  }

  @Test func `all at once`() async throws {
    for folder in Self.folders { try await put("\(folder)/\(Self.name)") }
    let before = try await tree()
    _ = try await hooks("install")
    #expect(try await hooks("show").lines.count == Self.folders.count)
    for folder in Self.folders { #expect(try isOurs("\(folder)/\(Self.name)")) }
    _ = try await hooks("remove")
    #expect(try await tree() == before)
  }

  @Test func `no place`() async throws {
    let refusal = try await hooks("install", exits: 14)
    #expect(refusal.complaints.contains("/usr/bin, ") && refusal.complaints.contains("--place"))
  }

  @Test func `Debian's wrapper`() async throws {
    try await put("/usr/lib/xen-4.17/bin/\(Self.name)")
    try await bench.shell(
      """
      mkdir -p root/usr/lib/xen-common/bin root/var/lib/dpkg
      echo '#!/bin/sh' >root/usr/lib/xen-common/bin/xen-utils-wrapper
      chmod 755 root/usr/lib/xen-common/bin/xen-utils-wrapper
      ln -s ../lib/xen-common/bin/xen-utils-wrapper root/usr/bin/\(Self.name)
      """)
    let before = try await tree()
    _ = try await hooks("install")
    #expect(
      try await bench.shell("readlink root/usr/bin/\(Self.name)").text
        == "../lib/xen-common/bin/xen-utils-wrapper\n")
    #expect(try await hooks("show").lines.count == 1)
    _ = try await hooks("remove")
    #expect(try await tree() == before)
    _ = try await hooks("install", "--place", "/usr/bin/\(Self.name)", exits: 14)
  }

  @Test(arguments: ["/srv/xen/bin/vchan-socket-proxy", "/srv/xen/bin/another-name"])
  func `a given place`(path: String) async throws {
    try await put(path)
    try await put("/usr/lib/xen-4.17/bin/\(Self.name)")
    let before = try await tree()
    for _ in 0..<2 { _ = try await hooks("install", "--place", path) }
    #expect(try isOurs(path))
    #expect(try !isOurs("/usr/lib/xen-4.17/bin/\(Self.name)"))
    let script = String(decoding: try bench.bytes("root\(path)"), as: UTF8.self)
    #expect(script.contains("`--place \(path)`") && script.contains("--program \(path).distrib"))
    #expect(try await hooks("show", "--place", path).lines.count == 1)
    _ = try await hooks("remove", "--place", path)
    #expect(try await tree() == before)
  }

  @Test func `dpkg remembers a given place`() async throws {
    let path = "/srv/xen/bin/another-name"
    try await put(path)
    try await bench.shell("mkdir -p root/var/lib/dpkg")
    let before = try await tree()
    _ = try await hooks("install", "--place", path)
    #expect(try await hooks("show").text.hasPrefix("\(path): stubsave's"))
    _ = try await hooks("remove")
    #expect(try await tree() == before)
    #expect(try bench.bytes("root/var/lib/dpkg/diversions").isEmpty)
  }

  @Test(arguments: ["xen/proxy", "/xen proxy", "/a/../b", "/a//b", "/a/", "/proxy", "/a/b\u{E4}"])
  func `what is no place`(path: String) async throws {
    _ = try await hooks("install", "--place", path, exits: 64)
  }

  @Test func `a given place with nothing in it`() async throws {
    _ = try await hooks("install", "--place", "/srv/\(Self.name)", exits: 14)
    try await bench.shell("mkdir -p root/srv/\(Self.name)")
    let refusal = try await hooks("install", "--place", "/srv/\(Self.name)", exits: 12)
    #expect(refusal.complaints.contains("is a directory"))
  }

  @Test(arguments: ["/nix/store/abc-xen-4.20/bin", "/gnu/store/abc-xen/bin"])
  func `a store`(folder: String) async throws {
    let path = "\(folder)/\(Self.name)"
    try await put(path)
    let before = try await tree()
    for option in [[], ["--dry-run"]] {
      let refusal = try await HooksTests.run(
        try Programs.stubsave(), bench,
        ["install", "xl", "--root", root, "--place", path] + option, exits: 8)
      #expect(refusal.complaints.contains("--with-stubdom-qmp-proxy=PATH"))
    }
    // By a link from where NixOS has the running system's.
    try await bench.shell(
      "mkdir -p root/run/current-system; ln -s \(folder) root/run/current-system/bin")
    _ = try await hooks(
      "install", "--place", "/run/current-system/bin/\(Self.name)", exits: 8)
    try await bench.shell("rm -r root/run")
    #expect(try await tree() == before)
  }

  @Test func `a new Xen beside the old one`() async throws {
    let paths = ["4.17", "4.20"].map { "/usr/lib/xen-\($0)/bin/\(Self.name)" }
    try await bench.shell("mkdir -p root/var/lib/dpkg")
    try await put(paths[0])
    _ = try await hooks("install")
    try await put(paths[1])
    let shown = try await hooks("show").lines
    #expect(shown[0].contains("4.17") && shown[0].contains("stubsave's"))
    #expect(shown[1].contains("4.20") && shown[1].contains("not saved over a disk"))
    // dpkg removes the old one, and leaves what is not its own.
    try await bench.shell("rm root\(paths[0]).distrib")
    #expect(try await hooks("show").lines[1].contains("not saved over a disk"))
    _ = try await hooks("install")
    #expect(try isOurs(paths[1]))
    _ = try await hooks("remove")
    #expect(try await hooks("show").lines.count == 1)
    #expect(try bench.bytes("root/var/lib/dpkg/diversions").isEmpty)
  }

  /// As rpm does it, which knows nothing of diversions, and `make install`.
  @Test(arguments: ["install", "remove"], ["/usr/bin", "/usr/local/bin"])
  func `an upgrade over ours`(verb: String, folder: String) async throws {
    let path = "\(folder)/\(Self.name)"
    // dpkg knows of no file below /usr/local.
    if folder == "/usr/local/bin" { try await bench.shell("mkdir -p root/var/lib/dpkg") }
    try await put(path, 1)
    _ = try await hooks("install")
    try await put(path, 2)
    let new = try bench.bytes("root\(path)")
    #expect(try await hooks("show").text.contains("libxl's own;"))
    _ = try await hooks(verb)
    #expect(try bench.bytes("root\(path)\(verb == "install" ? ".distrib" : "")") == new)
    #expect(try isOurs(path) == (verb == "install"))
    _ = try await hooks("remove")
    #expect(try bench.bytes("root\(path)") == new)
    #expect(
      try FileManager.default.contentsOfDirectory(atPath: bench.url("root\(folder)").path)
        == [Self.name])
  }

  /// dpkg would have written it aside: then nobody knows what it is.
  @Test func `something over ours where dpkg diverts`() async throws {
    let path = "/usr/lib/xen-4.17/bin/\(Self.name)"
    try await bench.shell("mkdir -p root/var/lib/dpkg")
    try await put(path, 1)
    _ = try await hooks("install")
    try await put(path, 2)
    let before = try await tree()
    for verb in ["install", "remove"] { _ = try await hooks(verb, exits: 12) }
    #expect(try await tree() == before)
  }
}
