import Foundation
import SystemIO

/// The commands, against `lz4 -1 | dd conv=fsync` and back.
struct Commands {
  private let workplace: Workplace
  private let stubsave: String
  private let agent: String
  private let runs: Int
  private let state: String

  init(
    _ machine: BenchMachine, _ workplace: Workplace, stubsave: String, agent: String, runs: Int
  ) throws {
    self.workplace = workplace
    self.stubsave = URL(fileURLWithPath: stubsave).path
    self.agent = URL(fileURLWithPath: agent).path
    self.runs = runs
    state = workplace.name("state")
    try Data(machine.state).write(to: URL(fileURLWithPath: state))
  }

  func measure() throws {
    let (disk, other) = (workplace.name("disk"), workplace.name("state.lz4"))
    let starts = try Pairs(
      runs: runs, prepare: { try workplace.shell("rm -f \(disk)") },
      { try workplace.shell("exec \(stubsave) write \(disk) < /dev/null") },
      { try workplace.shell("lz4 -1 < /dev/null | dd of=\(other) conv=fsync status=none") })
    print(Row.line("start-up (no state): stubsave write : lz4 -1 | dd", starts))
    // The agent says how it is to be used, and ends with 64.
    let agents = try Pairs(
      runs: runs, { try workplace.shell("\(agent) 2> /dev/null || true") },
      { try workplace.shell("lz4 -1 < /dev/null | dd of=\(other) conv=fsync status=none") })
    print(Row.line("start-up (usage): stubsave-agent : lz4 -1 | dd", agents))

    try measure("tmpfs", mine: disk, theirs: other)
    let (first, second) = (try Self.loop(), try Self.loop())
    try measure("loop device", mine: first.name, theirs: second.name)
    try measureAgent()
  }

  /// A loop device of 4 MiB over memory.
  private final class Loop {
    private let device: LoopDevice
    var name: String { String(decoding: device.path.bytes, as: UTF8.self) }
    init(_ device: consuming LoopDevice) { self.device = device }
  }

  private static func loop() throws -> Loop {
    let backing = try FileDescriptor.inMemory()
    try backing.truncate(to: 4 << 20)
    return Loop(try LoopDevice(backing: backing))
  }

  private func measure(
    _ place: String, mine: String, theirs: String
  ) throws {
    let output = workplace.name("output")
    let writing = try Pairs(
      runs: runs, prepare: { try empty(mine) },
      { try workplace.shell("exec \(stubsave) write \(mine) < \(state)") },
      {
        try workplace.shell("lz4 -1 < \(state) | dd of=\(theirs) conv=fsync status=none")
      })
    print(Row.line("stubsave write : lz4 -1 | dd conv=fsync, \(place)", writing))

    // A device is longer than what was written to it.
    let isDevice = theirs.hasPrefix("/dev/loop")
    let compressed = workplace.name("length.lz4")
    try workplace.shell("lz4 -1 < \(state) > \(compressed)")
    let bytes = try Data(contentsOf: URL(fileURLWithPath: compressed)).count
    let size = isDevice ? "bs=\(bytes) count=1" : "bs=64k"
    let back = "dd if=\(theirs) \(size) status=none | lz4 -d"
    let reading = try Pairs(
      runs: runs, { try workplace.shell("exec \(stubsave) read \(mine) > \(output)") },
      { try workplace.shell("\(back) > \(output)") })
    print(Row.line("stubsave read : dd | lz4 -d, \(place)", reading))
    let flushed = try Pairs(
      runs: runs, { try workplace.shell("exec \(stubsave) read --force \(mine) -o \(output)") },
      { try workplace.shell("\(back) | dd of=\(output) conv=fsync status=none") })
    print(Row.line("stubsave read --force -o : dd | lz4 -d | dd conv=fsync, \(place)", flushed))
  }

  /// Makes way for a `write`: a file goes, a device is allocated anew.
  private func empty(_ path: String) throws {
    let isDevice = path.hasPrefix("/dev/loop")
    try workplace.shell(
      isDevice ? "\(stubsave) allocate --force \(path)" : "rm -f \(path)")
  }

  /// The stubdomain's program, which writes into what dom0 has allocated.
  private func measureAgent() throws {
    let (disk, empty, output) = (
      workplace.name("agent.disk"), workplace.name("empty.disk"), workplace.name("output")
    )
    let other = workplace.name("state.lz4")
    try workplace.shell("\(stubsave) allocate --size 1MiB \(empty)")
    let writing = try Pairs(
      runs: runs, prepare: { try workplace.shell("cp \(empty) \(disk)") },
      { try workplace.shell("exec \(agent) write \(disk) < \(state)") },
      { try workplace.shell("lz4 -1 < \(state) | dd of=\(other) conv=fsync status=none") })
    print(Row.line("stubsave-agent write : lz4 -1 | dd conv=fsync, tmpfs", writing))
    try workplace.shell("cp \(empty) \(disk) && \(agent) write \(disk) < \(state)")
    let reading = try Pairs(
      runs: runs, { try workplace.shell("exec \(agent) read \(disk) > \(output)") },
      { try workplace.shell("dd if=\(other) bs=64k status=none | lz4 -d > \(output)") })
    print(Row.line("stubsave-agent read : dd | lz4 -d, tmpfs", reading))
  }
}
