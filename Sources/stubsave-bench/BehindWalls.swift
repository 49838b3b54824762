import Foundation
import SystemIO

/// What it costs that a process of its own looks at a disk: the same program with the decoder beside
/// it, and without, where it looks for itself.
struct BehindWalls {
  private let machine: BenchMachine
  private let workplace: Workplace
  private let stubsave: String
  private let agent: String
  private let runs: Int

  /// Given to both, so that both pass through the same argument parser: root is refused without the
  /// decoder's program otherwise.
  private static let option = "--allow-weak-sandbox"

  /// Below what is read by default at most.
  private static let largeBytes = 60 << 20
  /// Each takes some 0.1 s.
  private static let largeRuns = 15

  /// What a small state may be late for it.
  private static let most = "3 at most"

  init(
    _ machine: BenchMachine, _ workplace: Workplace, stubsave: String, agent: String, runs: Int
  ) {
    self.machine = machine
    self.workplace = workplace
    self.stubsave = URL(fileURLWithPath: stubsave).path
    self.agent = URL(fileURLWithPath: agent).path
    self.runs = runs
  }

  func measure() throws {
    let alone = workplace.name("alone")
    try workplace.shell("mkdir \(alone) && cp \(stubsave) \(alone)/stubsave")
    try measureStart()
    try measureDump(alone)
    try measure(
      "one state", Data(machine.state), alone: alone, runs: runs, most: Self.most)
    var large = Data(capacity: Self.largeBytes)
    while large.count < Self.largeBytes { large.append(Data(machine.state)) }
    try measure(
      "60 MiB", large.prefix(Self.largeBytes), alone: alone, runs: min(runs, Self.largeRuns),
      most: "the start's, and 5 % at most")
  }

  /// The program's start and end alone: nobody asks it anything.
  private func measureStart() throws {
    let decoder = URL(fileURLWithPath: stubsave).deletingLastPathComponent()
      .appendingPathComponent("stubsave-decode").path
    let pairs = try Pairs(
      runs: runs, { try workplace.run([decoder], expecting: 64) },
      { try workplace.run(["/bin/true"], expecting: 0) })
    print(Row.line("start and end: stubsave-decode : /bin/true", pairs))
  }

  /// Whole dumps of one state.
  private func measureDump(_ alone: String) throws {
    let output = workplace.name("walls.dumped")
    let words =
      "dump \(Self.option) --qmp \(machine.secondSocket) --agent \(agent) --force -o \(output)"
    let pairs = try Pairs(
      runs: runs, { try workplace.shell("exec \(stubsave) \(words)") },
      { try workplace.shell("exec \(alone)/stubsave \(words) 2> /dev/null") })
    print(
      Row.cost(
        "stubsave dump, behind walls : in one process, one state", pairs, most: Self.most))
  }

  private func measure(
    _ what: String, _ state: Data, alone: String, runs: Int, most: String
  ) throws {
    let (source, disk, output) = (
      workplace.name("walls.state"), workplace.name("walls.disk"), workplace.name("walls.output")
    )
    try state.write(to: URL(fileURLWithPath: source))
    try workplace.shell("rm -f \(disk) && \(stubsave) write \(disk) < \(source)")
    for command in [
      "verify \(Self.option) \(disk) > \(output)",
      "read \(Self.option) --force -o \(output) \(disk)",
    ] {
      let pairs = try Pairs(
        runs: runs, { try workplace.shell("exec \(stubsave) \(command)") },
        { try workplace.shell("exec \(alone)/stubsave \(command) 2> /dev/null") })
      let name = command.prefix { $0 != " " }
      print(
        Row.cost(
          "stubsave \(name), behind walls : in one process, \(what)", pairs, most: most))
    }
    try workplace.shell("rm -f \(source) \(disk) \(output)")
  }
}
