import Codecs
import QEMUState
import Rendezvous
import SaveDisk
import SystemIO
import Transfer

public struct RestoreOptions: Sendable {
  /// Of a QEMU that was started with `-incoming defer`.
  public var transfer: TransferSettings
  /// "-" is standard input.
  public var input: SystemPath
  /// A state without a trailer is refused.
  public var requiresTrailer = true
  /// By which a user says otherwise, for messages.
  public var acceptOption: StaticString = "--accept-unverified"
  /// Codecs whose decoder may be run on it.
  public var acceptedCodecs = CodecSet.dom0
  /// The input is a file that only root can have put there; anything else is refused.
  public var isRootsFile = false
  /// A state of a QEMU with other devices is restored all the same.
  public var isForced = false
  /// By which a user says so, for messages.
  public var forceOption: StaticString = "--force"

  public init(_ transfer: TransferSettings, input: SystemPath) {
    self.transfer = transfer
    self.input = input
  }
}

public struct RestoreReport: Sendable {
  public let format: StateFormat
  public let stateBytes: UInt64
  public let diskBytes: UInt64
  /// XXH3-128 of the state.
  public let digest: Bytes16
  /// What wrote it, in lines; empty if the input does not say.
  public let metadata: [UInt8]
  /// What a user should know though it went well, beside what has been said before; without the path.
  public let warnings: [PlainText]
}

/// `restore`: a state file, over a save disk that the agent verifies, into a QEMU.
public enum Restore {
  /// - Parameter warn: is told what a user should know, before QEMU gets a byte.
  public static func run(
    _ options: RestoreOptions, warn: (PlainText) -> Void
  ) throws(ToolError) -> RestoreReport {
    let given = try GivenState.open(options)
    // Held until the disk is gone, so that nothing of the guest stays on a given one.
    let signals = try attempt(options.transfer.place.name) { () throws(SystemError) in
      try EndingSignals()
    }
    let report = try run(options, given, signals.number, warn)
    // A signal that comes now is too late: who waits for the end must see that QEMU has the state.
    signals.settle()
    return report
  }

  private static func run(
    _ options: RestoreOptions, _ given: borrowing GivenState, _ signals: Int32,
    _ warn: (PlainText) -> Void
  ) throws(ToolError) -> RestoreReport {
    for warning in given.warnings { warn(warning) }
    let carrying = options.transfer.carrying(.restore)
    switch options.transfer.place {
    case .process(let program, let monitor):
      let warnings = try MachineCheck(given, options).ask(
        monitor, milliseconds: options.transfer.timeoutMilliseconds, signals: signals)
      let disk = try TransferDisk.make(
        holding: given.file, metadata: Origin.agents(given.metadata), carrying)
      let agent = try LocalAgent.start(program, monitor, disk, options.transfer)
      for warning in warnings { warn(warning) }
      return try run(options, given, over: disk, with: agent, signals)
    case .stubdomain(let place):
      let prepared = try PreparedRestore.make(options, given, at: place)
      for warning in prepared.warnings { warn(warning) }
      return try prepared.run(options, given, signals)
    }
  }

  fileprivate static func run<Agent: AgentPeer & ~Copyable>(
    _ options: RestoreOptions, _ given: borrowing GivenState, over filled: consuming TransferDisk,
    with peer: consuming Agent, _ signals: Int32
  ) throws(ToolError) -> RestoreReport {
    let disk = filled
    var agent = peer
    let facts: DiskFacts
    do throws(ToolError) {
      facts = try disk.facts(options.transfer.carrying(.restore))
    } catch {
      throw agent.giveUp(after: error, guestIsStopped: false)
    }
    let machine = try agent.offer(disk, options.transfer, signals: signals) {
      .load($0, maxBytes: options.transfer.maxStateBytes)
    }
    guard case .answered(.loaded)? = machine.ending else {
      throw agent.giveUp(machine, EndingFacts(options.transfer, disk))
    }
    // Not before the stubdomain has let go of it.
    agent.idle()
    do throws(ToolError) {
      try finish(disk)
    } catch {
      _ = agent.end()
      throw error
    }
    let warnings = agent.end()
    let state = facts.summary(of: .qemu)
    return RestoreReport(
      format: given.format, stateBytes: state?.rawBytes ?? 0, diskBytes: facts.diskBytes,
      digest: state?.digest ?? .zero, metadata: given.metadata, warnings: warnings)
  }

  private static func finish(_ disk: consuming TransferDisk) throws(ToolError) {
    var disk = disk
    do throws(ToolError) {
      try disk.wipe()
    } catch {
      throw ToolError(error.status, disk.path) {
        $0.append("QEMU has loaded the state, but the disk could not be made zeros again: ")
        $0.append(error.reason)
      }
    }
  }
}

/// A restore up to the moment when the stubdomain is needed: the state is one for this guest's
/// devices and lies on a disk of its own, verified.
struct PreparedRestore: ~Copyable {
  private var agent: StubdomainAgent
  private let disk: TransferDisk
  let warnings: [PlainText]

  static func make(
    _ options: RestoreOptions, _ given: borrowing GivenState, at place: StubdomainPlace
  ) throws(ToolError) -> PreparedRestore {
    var agent = try StubdomainAgent.find(place, mayBePaused: true)
    do throws(ToolError) {
      let origin = try agent.origin()
      var warnings =
        try origin?.check(
          given.metadata, options.input, isForced: options.isForced, option: options.forceOption)
        ?? []
      warnings += try MachineCheck(given, options).check(
        told: origin?.arguments, agents: given.metadata)
      let disk = try TransferDisk.make(
        holding: given.file, metadata: Origin.agents(given.metadata),
        options.transfer.carrying(.restore))
      return PreparedRestore(agent: agent, disk: disk, warnings: warnings)
    } catch {
      throw agent.giveUp(after: error, guestIsStopped: false)
    }
  }

  private init(
    agent: consuming StubdomainAgent, disk: consuming TransferDisk, warnings: [PlainText]
  ) {
    self.agent = agent
    self.disk = disk
    self.warnings = warnings
  }

  /// Attaches the disk, and waits until QEMU has the state; everything is put away then.
  consuming func run(
    _ options: RestoreOptions, _ given: borrowing GivenState, _ signals: Int32
  ) throws(ToolError) -> RestoreReport {
    try Restore.run(options, given, over: disk, with: agent, signals)
  }
}
