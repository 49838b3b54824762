// Invariants:
// - a file that another program writes, or has locked, keeps its name, its bytes and its inode,
//   whatever is to take its place and however it is forced: busy, and nothing is left behind;
// - as soon as nobody is at work with it, it is replaced; whoever only reads it is nobody.

import Foundation
import TestSupport
import Testing

@Suite(.fewAtOnce, .timeLimit(.minutes(5)))
struct InUseTests {
  let bench: Workbench
  init() throws { bench = try Workbench() }

  /// Everything that puts a new file in the place of an old one.
  static let commands = [
    "allocate target --force --size 8KiB",
    "write target --force < \"$STATE\"",
    "read source --force -o target",
    "extract --force -o target \"$FIXTURES/good/libvirt.libvirtsave\"",
    "wrap --force -o target \"$STATE\"",
  ]

  /// How somebody is at work with it while "$@" runs.
  static let uses = [
    "flock target \"$@\"",
    "flock -s target \"$@\"",
    "exec 7<> target; \"$@\"",
    "exec 7>> target; \"$@\"",
  ]

  private func prepare() async throws {
    try await bench.stubsave("write", "source", input: .file(States.real))
    try await bench.stubsave("allocate", "target", "--size", "1MiB")
  }

  @Test(arguments: commands.indices, uses.indices)
  func itKeepsItsName(command: Int, use: Int) async throws {
    try await prepare()
    let (before, inode) = (try bench.bytes("target"), try bench.inode("target"))
    let names = try bench.names()
    let run = "sh -c '\"$STUBSAVE\" \(Self.commands[command])'"
    let outcome = try await bench.shell("set -- \(run); \(Self.uses[use]) 2>&1", exits: 5)
    #expect(outcome.text.contains("target: another program writes it or has locked it"))
    #expect(try bench.inode("target") == inode)
    try expectSame(bench.bytes("target"), before)
    #expect(try bench.names() == names)
    // By a link to it, too: what is replaced then is the link, but that is not what its user thinks of.
    try await bench.shell("ln -s target link")
    let linked = run.replacing("target", with: "link")
    try await bench.shell("set -- \(linked); \(Self.uses[use])", exits: 5)
    try await bench.shell("test -L link; rm link")
    try await bench.shell("exec 7< target; \(run)")
    #expect(try bench.inode("target") != inode)
  }
}
