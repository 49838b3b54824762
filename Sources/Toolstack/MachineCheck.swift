import QEMUMonitor
import SaveDisk
import SystemIO
import Transfer
import Xen

/// Whether a QEMU has the machine that a state is of: one that has not ends itself in the middle of
/// the load.
struct MachineCheck {
  /// As the state's own configuration section says; QEMU compares it byte for byte.
  let configured: MachineType?
  /// As dom0 has recorded of the QEMU that saved it.
  let recorded: MachineType?
  let path: SystemPath
  /// Another machine is a warning only.
  let isForced: Bool
  /// By which a user says so.
  let option: StaticString

  init(
    configured: MachineType?, recorded: MachineType?, path: SystemPath, isForced: Bool,
    option: StaticString
  ) {
    self.configured = configured
    self.recorded = recorded
    self.path = path
    self.isForced = isForced
    self.option = option
  }

  init(_ given: borrowing GivenState, _ options: RestoreOptions) {
    self.init(
      configured: given.machine.map { MachineType($0) },
      recorded: Origin.machine(in: given.metadata), path: options.input,
      isForced: options.isForced, option: options.forceOption)
  }

  /// Asks a QEMU on this machine, if there is anything to ask; the agent comes after that.
  ///
  /// - Returns: warnings. A QEMU that cannot be asked is left to the agent, which meets the same.
  func ask(
    _ monitor: SystemPath, milliseconds: UInt64, signals: Int32?
  ) throws(ToolError) -> [PlainText] {
    if configured == nil && recorded == nil { return [] }
    let running: MachineType
    let known: [KnownMachine]
    do throws(MonitorError) {
      var connection = try Monitor.connect(
        to: monitor, deadline: Deadline(timeoutMilliseconds: milliseconds), signals: signals)
      running = MachineType(objectType: try connection.machineType().bytes)
      known = try connection.machines()
    } catch {
      return []
    }
    return try check(running: running, known: known)
  }

  func check(running: MachineType, known: [KnownMachine]) throws(ToolError) -> [PlainText] {
    if let configured, configured != running {
      return try differ("its configuration section says", configured, "this QEMU has", running)
    }
    guard let recorded else { return [] }
    guard let found = known.first(where: { $0.name == recorded.name || $0.alias == recorded.name })
    else {
      return try differ(
        "it was saved with", recorded, "which this QEMU does not know; it has", running)
    }
    if found.name == running.name { return [] }
    return [difference("it was saved with", recorded, "this QEMU has", running)]
  }

  /// Of a QEMU in a stubdomain, which dom0 does not talk to before its agent does: by what libxl has
  /// told it. The stubdomain's own line is a warning at most.
  func check(told arguments: DeviceArguments?, agents lines: [UInt8]) throws(ToolError)
    -> [PlainText]
  {
    guard let told = arguments?.machine else { return [] }
    if let configured, !told.mayStandFor(configured) {
      return try differ("its configuration section says", configured, "this QEMU has", told)
    }
    let said = Origin.values(ofAgents: "machine", in: lines).first.map {
      MachineType(objectType: $0)
    }
    guard configured == nil, recorded == nil, let said, said.family != told.family else {
      return []
    }
    return [difference("the stubdomain said of it", said, "this QEMU has", told)]
  }

  private func differ(
    _ whose: StaticString, _ theirs: MachineType, _ ours: StaticString, _ this: MachineType
  ) throws(ToolError) -> [PlainText] {
    let text = difference(whose, theirs, ours, this)
    if isForced { return [text] }
    throw ToolError(.wouldDestroy, path) {
      $0.append(text)
      $0.append(": QEMU would end itself; ")
      $0.append(option)
      $0.append(" tries it all the same")
    }
  }

  private func difference(
    _ whose: StaticString, _ theirs: MachineType, _ ours: StaticString, _ this: MachineType
  ) -> PlainText {
    var text = PlainText()
    text.append("is of another machine: ")
    text.append(whose)
    text.append(" ")
    text.append(escaping: theirs.name, maxBytes: 64)
    text.append(", ")
    text.append(ours)
    text.append(" ")
    text.append(escaping: this.name, maxBytes: 64)
    return text
  }
}
