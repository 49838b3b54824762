import Foundation
import QEMUMonitor
import SaveDisk
import SystemIO

/// Whole dumps and restores, agent and all, against what does the same with `lz4` and `dd`.
struct ThroughAgent {
  private let machine: BenchMachine
  private let workplace: Workplace
  private let stubsave: String
  private let agent: String
  private let runs: Int

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
    let (output, other) = (workplace.name("dumped"), workplace.name("dumped.lz4"))
    let dump =
      "\(stubsave) dump --qmp \(machine.secondSocket) --agent \(agent) --force -o \(output)"
    let dumps = try Pairs(
      runs: runs, { try workplace.shell("exec \(dump)") },
      {
        try machine.save(to: try workplace.path("straight"))
        try workplace.shell(
          "lz4 -1 < \(workplace.name("straight")) | dd of=\(other) conv=fsync status=none")
      })
    print(Row.line("stubsave dump : QEMU saves, lz4 -1 | dd conv=fsync", dumps))
    try restores(of: output, other)
    try measureStart()
    print("")
    try count("stubsave dump", dump)
    try withIncoming { socket in
      try count(
        "stubsave restore", "\(stubsave) restore --qmp \(socket) --agent \(agent) -i \(output)")
    }
    print("QEMU saves, lz4 -1 | dd: 1 command to QEMU, 1 flush")
  }

  private func restores(of output: String, _ other: String) throws {
    var incoming: BenchMachine.Incoming?
    let prepare = {
      try incoming?.quit()
      incoming = try BenchMachine.Incoming(in: workplace)
    }
    let pairs = try Pairs(
      // Each needs a QEMU of its own.
      runs: max(runs / 3, 4), prepare: prepare,
      {
        try workplace.shell(
          "exec \(stubsave) restore --qmp \(incoming?.socket ?? "") --agent \(agent) -i \(output)")
      },
      {
        let state = workplace.name("unpacked")
        try workplace.shell("dd if=\(other) bs=64k status=none | lz4 -d > \(state)")
        let file = try FileDescriptor.open(try workplace.path("unpacked"), .read)
        try incoming?.load(file)
      })
    try incoming?.quit()
    print(Row.line("stubsave restore : dd | lz4 -d, QEMU loads", pairs))
  }

  private func withIncoming(_ body: (String) throws -> Void) throws {
    let incoming = try BenchMachine.Incoming(in: workplace)
    try body(incoming.socket)
    try incoming.quit()
  }

  /// Started and ended, without a shell.
  private func measureStart() throws {
    let pairs = try Pairs(
      runs: runs, { try workplace.run([agent], expecting: 64) },
      { try workplace.run(["/bin/true"], expecting: 0) })
    print(Row.line("start and end: stubsave-agent : /bin/true", pairs))
  }

  /// What a command says to QEMU and to its agent, and how often it waits for stable storage.
  private func count(_ name: String, _ command: String) throws {
    let log = workplace.name("calls")
    try workplace.shell(
      "strace -f -qq -s 64 -e trace=fsync,fdatasync,sendmsg,sendto,execve -o \(log) \(command)")
    let lines = try String(contentsOfFile: log, encoding: .utf8).split(separator: "\n")
    let commands = lines.filter { $0.contains("\\\"execute\\\"") }.count
    let flushes = lines.filter { $0.contains("sync(") }.count
    let decoders = lines.filter { $0.contains("execve(") && $0.contains("stubsave-decode") }.count
    let messages = lines.filter { $0.contains("send") }.count - commands
    print(
      "\(name): \(commands) commands to QEMU, \(messages) messages between dom0 and agent, "
        + "\(flushes) flushes, \(decoders) decoders")
  }
}
