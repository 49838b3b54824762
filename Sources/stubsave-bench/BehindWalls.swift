import Foundation
import SystemIO

/// What it costs that a process of its own looks at a disk: the same program with the decoder beside
/// it, and without, where it looks for itself.
struct BehindWalls {
  private let machine: BenchMachine
  private let workplace: Workplace
  private let stubsave: String
  private let runs: Int

  /// Below what is read by default at most.
  private static let largeBytes = 60 << 20
  /// Each takes some 0.1 s.
  private static let largeRuns = 15

  init(_ machine: BenchMachine, _ workplace: Workplace, stubsave: String, runs: Int) {
    self.machine = machine
    self.workplace = workplace
    self.stubsave = URL(fileURLWithPath: stubsave).path
    self.runs = runs
  }

  func measure() throws {
    let alone = workplace.name("alone")
    try workplace.shell("mkdir \(alone) && cp \(stubsave) \(alone)/stubsave")
    try measure("one state", Data(machine.state), alone: alone, runs: runs)
    var large = Data(capacity: Self.largeBytes)
    while large.count < Self.largeBytes { large.append(Data(machine.state)) }
    try measure(
      "60 MiB", large.prefix(Self.largeBytes), alone: alone, runs: min(runs, Self.largeRuns))
  }

  private func measure(_ what: String, _ state: Data, alone: String, runs: Int) throws {
    let (source, disk, output) = (
      workplace.name("walls.state"), workplace.name("walls.disk"), workplace.name("walls.output")
    )
    try state.write(to: URL(fileURLWithPath: source))
    try workplace.shell("rm -f \(disk) && \(stubsave) write \(disk) < \(source)")
    for command in ["verify \(disk) > \(output)", "read --force -o \(output) \(disk)"] {
      let pairs = try Pairs(
        runs: runs, { try workplace.shell("exec \(stubsave) \(command)") },
        { try workplace.shell("exec \(alone)/stubsave \(command) 2> /dev/null") })
      let name = command.prefix { $0 != " " }
      print(Row.line("stubsave \(name), behind walls : in one process, \(what)", pairs))
    }
    try workplace.shell("rm -f \(source) \(disk) \(output)")
  }
}
