import ArgumentParser
import SystemIO

/// Measures what stubsave costs against what people use instead, side by side in one run.
@main
struct Bench: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "stubsave-bench",
    abstract: "Measure stubsave against what people use instead, as ratios in one run.",
    discussion: """
      Starts a QEMU with one e1000, takes its device state (about 210 KB), and times two ways in \
      turn. A ratio is the median of the pairs' ratios, with the quartiles as its spread; below 1 \
      stubsave is faster. Needs root, for loop devices. Times on a shared machine mean little.
      """)

  @Option(help: "How many pairs.")
  var runs = 60
  @Option(help: "The command line under test.")
  var stubsave = ".build/release/stubsave"
  @Option(help: "The stubdomain's agent under test.")
  var agent = ".build/agent/stubsave-agent"

  func validate() throws {
    guard runs >= 4 else { throw ValidationError("--runs must be at least 4.") }
  }

  func run() throws {
    let workplace = try Workplace()
    let machine = try BenchMachine(in: workplace)
    print("device state: \(machine.state.count) bytes, QEMU \(machine.version)")
    print("")
    print(Row.heading)
    try InProcess(machine, workplace, runs: runs).measure()
    print("")
    try Commands(machine, workplace, stubsave: stubsave, agent: agent, runs: runs).measure()
    print("")
    try BehindWalls(machine, workplace, stubsave: stubsave, agent: agent, runs: runs).measure()
    print("")
    try ThroughAgent(machine, workplace, stubsave: stubsave, agent: agent, runs: runs).measure()
  }
}
