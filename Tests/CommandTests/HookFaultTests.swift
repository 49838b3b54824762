// Invariants:
// - nothing outside of `--root` is read or changed, whatever links there are in it;
// - a place that has several names is one place;
// - what is no program of libxl's is never moved, and waits for nobody;
// - a place that somebody has damaged by hand is repaired, or left alone and named.

import Foundation
import TestSupport
import Testing

@Suite(.fewAtOnce, .timeLimit(.minutes(5)))
struct HookFaultTests {
  let bench: Workbench
  init() async throws {
    bench = try Workbench()
    try await bench.shell(
      """
      mkdir -p \(Self.folder) root/var/lib/dpkg
      printf '#!/bin/sh\\necho own "$@"\\n' >\(Self.place)
      chmod 755 \(Self.place)
      """)
  }

  private static let folder = "root/usr/lib/xen-4.17/bin"
  private static let place = folder + "/vchan-socket-proxy"
  private static let aside = place + ".distrib"
  private static let own = "#!/bin/sh\necho own \"$@\"\n"
  private static let diversion = """
    /usr/lib/xen-4.17/bin/vchan-socket-proxy
    /usr/lib/xen-4.17/bin/vchan-socket-proxy.distrib
    :

    """

  private var root: String { bench.url("root").path }

  private func hooks(
    _ verb: String, _ options: String..., exits code: Int32 = 0, program: URL? = nil,
    environment: [String: String] = [:], sourceLocation: SourceLocation = #_sourceLocation
  ) async throws -> Outcome {
    try await HooksTests.run(
      try program ?? Programs.stubsave(), bench, [verb, "xl", "--root", root] + options,
      exits: code, environment: environment, sourceLocation: sourceLocation)
  }

  private func text(_ name: String) throws -> String {
    String(decoding: try bench.bytes(name), as: UTF8.self)
  }

  private func diversions() -> String {
    (try? text("root/var/lib/dpkg/diversions")) ?? ""
  }

  /// All names below a folder, with their kinds, links and contents.
  private func tree(_ name: String) async throws -> String {
    try await bench.shell(
      "cd \(name) && find . ! -path '*dpkg*' -printf '%p %y %m %l\\n' | sort; "
        + "find . -type f ! -path '*dpkg*' -exec cksum {} + | sort"
    ).text
  }

  @Test func `a folder that has two names`() async throws {
    try await bench.shell(
      "ln -s xen-4.17 root/usr/lib/xen-default; ln -s xen-4.17 root/usr/lib/xen")
    let before = try await tree("root")
    _ = try await hooks("install")
    _ = try await hooks("install")
    #expect(try text(Self.aside) == Self.own)
    #expect(diversions() == Self.diversion)
    #expect(try await hooks("show").lines.count == 1)
    _ = try await hooks("remove")
    #expect(diversions() == "")
    #expect(try await tree("root") == before)
  }

  @Test func `a place that is a link to another place`() async throws {
    try await bench.shell(
      """
      mkdir -p root/usr/lib/xen/bin root/usr/libexec/xen/bin
      ln -s ../../xen-4.17/bin/vchan-socket-proxy root/usr/lib/xen/bin/vchan-socket-proxy
      ln -s /usr/lib/xen-4.17/bin/vchan-socket-proxy root/usr/libexec/xen/bin/vchan-socket-proxy
      """)
    let before = try await tree("root")
    for _ in 0..<2 {
      #expect(try await hooks("install").lines.allSatisfy { !$0.contains("/xen/bin") })
    }
    #expect(try await hooks("show").lines.count == 1)
    _ = try await hooks("remove")
    #expect(try await tree("root") == before)
  }

  /// How the folder of Xen's programs is reached, or the program.
  @Test(
    arguments: [
      "mv root/usr/lib root/usr/lib64; ln -s lib64 root/usr/lib",
      "mv root/usr/lib root/usr/lib64; ln -s /usr/lib64 root/usr/lib",
      "mv root/usr/lib root/srv; ln -s ../../../../../srv root/usr/lib",
      "mv root/usr/lib/xen-4.17 root/opt; ln -s /opt root/usr/lib/xen-4.17",
      "mv \(place) root/real; ln -s /real \(place)",
      "mv \(place) \(folder)/real; ln -s real \(place)",
      "mv root/var/lib/dpkg root/dpkg; ln -s /dpkg root/var/lib/dpkg",
    ]) func `links that stay inside`(how: String) async throws
  {
    try await bench.shell(how)
    let before = try await tree("root")
    _ = try await hooks("install")
    #expect(try await hooks("show").text.contains("stubsave's; libxl's own is"))
    #expect(diversions() == Self.diversion || how.contains("dpkg"))
    if how.contains("dpkg") { #expect(try text("root/dpkg/diversions") == Self.diversion) }
    _ = try await hooks("remove")
    #expect(try await tree("root") == before)
  }

  /// The same paths, where they lead out for whoever follows them as they are.
  @Test(
    arguments: [
      "mv root/usr/lib/xen-4.17 host/xen; ln -s \"$PWD/host/xen\" root/usr/lib/xen-4.17",
      "mv root/usr/lib/xen-4.17 host/xen; ln -s ../../../host/xen root/usr/lib/xen-4.17",
      "mv root/usr host/usr; ln -s \"$PWD/host/usr\" root/usr",
    ]) func `links that lead out`(how: String) async throws
  {
    try await bench.shell("mkdir host; \(how)")
    let before = try await tree("host")
    for verb in ["show", "install", "remove"] { _ = try await hooks(verb, exits: 14) }
    #expect(try await tree("host") == before)
    #expect(diversions() == "")
  }

  @Test func `dpkg's database is not somebody else's`() async throws {
    try await bench.shell(
      "mkdir host; mv root/var/lib/dpkg host/dpkg; ln -s \"$PWD/host/dpkg\" root/var/lib/dpkg")
    _ = try await hooks("install")
    #expect(try await bench.shell("ls host/dpkg").text == "")
    _ = try await hooks("remove")
    #expect(try text(Self.place) == Self.own)
  }

  /// In libxl's place, or beside it.
  @Test(
    arguments: ["vchan-socket-proxy", "vchan-socket-proxy.distrib"],
    [
      "mkdir", "mkfifo", "ln -s /nowhere", "ln -s .",
      "ln -s vchan-loop vchan-loop; ln -s vchan-loop",
    ])
  func `no program`(name: String, make: String) async throws {
    try await bench.shell("cd \(Self.folder) && rm -f \(name) && \(make) \(name)")
    let before = try await tree("root")
    #expect(try await hooks("show").text.contains("neither"))
    let refusal = try await hooks("install", exits: 12)
    #expect(refusal.complaints.contains("/\(name): is "))
    #expect(try await tree("root") == before)
    #expect(diversions() == "")
    _ = try await hooks("remove")
    #expect(try await tree("root") == before)
  }

  @Test func `another's diversion`() async throws {
    let other = "/usr/lib/xen-4.17/bin/vchan-socket-proxy\n/elsewhere\nsomebody\n"
    try bench.put(Data(other.utf8), "root/var/lib/dpkg/diversions")
    let before = try await tree("root")
    #expect(try await hooks("install", exits: 12).complaints.contains("/elsewhere for somebody"))
    _ = try await hooks("remove")
    #expect(try await tree("root") == before)
    #expect(diversions() == other)
  }

  @Test func `a package's diversion to the same name stays`() async throws {
    let other = Self.diversion.replacingOccurrences(of: ":", with: "stubsave")
    try bench.put(Data(other.utf8), "root/var/lib/dpkg/diversions")
    for verb in ["install", "remove"] {
      _ = try await hooks(verb)
      #expect(diversions() == other)
    }
    #expect(try text(Self.place) == Self.own)
  }

  @Test func `dpkg's database is broken`() async throws {
    try await bench.shell("mkdir root/var/lib/dpkg/diversions")
    let before = try await tree("root")
    for verb in ["install", "remove"] { _ = try await hooks(verb, exits: 11) }
    #expect(try await tree("root") == before)
  }

  @Test func `somebody's own in the place, libxl's beside it`() async throws {
    _ = try await hooks("install")
    try await bench.shell(
      "echo wrapper >\(Self.folder)/w; chmod 755 \(Self.folder)/w; "
        + "mv \(Self.folder)/w \(Self.place)")
    let before = try await tree("root")
    #expect(try await hooks("show").text.contains("neither"))
    for verb in ["install", "remove"] { _ = try await hooks(verb, exits: 12) }
    #expect(try await tree("root") == before)
  }

  @Test func `a folder that was removed by hand`() async throws {
    _ = try await hooks("install")
    try await bench.shell("rm -r root/usr/lib/xen-4.17")
    let report = try await hooks("show", "--json").json(HooksJSON.self)
    #expect(report.places.map(\.state) == ["gone"])
    _ = try await hooks("remove")
    #expect(diversions() == "")
    _ = try await hooks("remove", exits: 14)
  }

  @Test func `a folder that was removed by hand, before another install`() async throws {
    _ = try await hooks("install")
    try await bench.shell("rm -r root/usr/lib/xen-4.17")
    #expect(try await hooks("install", exits: 14).text.contains("no more divert"))
    #expect(diversions() == "")
  }

  @Test(arguments: ["install", "remove"])
  func `a place that was emptied by hand`(verb: String) async throws {
    _ = try await hooks("install")
    try await bench.shell("rm \(Self.place)")
    #expect(try await hooks("show", "--json").json(HooksJSON.self).places.map(\.state) == ["empty"])
    _ = try await hooks(verb)
    #expect(try text(verb == "install" ? Self.aside : Self.place) == Self.own)
    #expect(diversions() == (verb == "install" ? Self.diversion : ""))
    _ = try await hooks("remove")
    #expect(try text(Self.place) == Self.own)
  }

  @Test func `a long script is ours`() async throws {
    _ = try await hooks("install")
    try await bench.shell("head -c 100000 /dev/zero | tr '\\0' '#' >>\(Self.place)")
    #expect(try await hooks("show").text.contains("stubsave's"))
    _ = try await hooks("install")
    #expect(try bench.bytes(Self.place).count < 4096)
    #expect(try text(Self.aside) == Self.own)
  }

  @Test(arguments: ["install", "remove"])
  func `what a killed one has left is put away`(verb: String) async throws {
    try await bench.shell(
      """
      cd \(Self.folder)
      touch .stubsave-0123456789abcdef .stubsave-hooks.new keep .stubsave-keep
      ln vchan-socket-proxy .stubsave-hooks
      """)
    _ = try await hooks(verb)
    let names = try FileManager.default.contentsOfDirectory(
      atPath: bench.url(Self.folder).path
    ).sorted()
    let wanted = ["vchan-socket-proxy", "vchan-socket-proxy.distrib"].prefix(
      verb == "install" ? 2 : 1)
    #expect(names == [".stubsave-keep", "keep"] + wanted)
  }

  private struct HooksJSON: Decodable {
    let places: [Place]
    struct Place: Decodable { let state: String }
  }
}
