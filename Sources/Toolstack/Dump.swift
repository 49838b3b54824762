import Codecs
import Foundation
import QEMUState
import Rendezvous
import SaveDisk
import SystemIO
import Transfer

/// What a state is handed on as.
public enum StateFormat: Sendable {
  /// QEMU's bytes and a trailer by which they can be checked.
  case state
  /// QEMU's bytes alone.
  case raw
  /// The save disk, cut after its commit.
  case archive
}

public struct DumpOptions: Sendable {
  public var transfer: TransferSettings
  /// "-" is standard output.
  public var output: SystemPath
  public var format = StateFormat.state
  /// An existing output file is replaced.
  public var isForced = false
  /// A new file is on stable storage in the end.
  public var isDurable = true
  /// A running guest is stopped for the dump, and goes on as soon as its state is taken.
  public var pauses = false
  /// A guest that was stopped stays so if all goes well.
  public var keepsPaused = false

  public init(_ transfer: TransferSettings, output: SystemPath) {
    self.transfer = transfer
    self.output = output
  }
}

public struct DumpReport: Sendable {
  public let stateBytes: UInt64
  /// Length of the save disk over which it came.
  public let diskBytes: UInt64
  /// XXH3-128 of the state.
  public let digest: Bytes16
  /// What wrote it, in lines.
  public let metadata: [UInt8]
  /// What a user should know though it went well.
  public let warnings: [PlainText]
}

/// `dump`: a QEMU's state, over a save disk that its agent fills, to a file.
public enum Dump {
  public static func run(_ options: DumpOptions) throws(ToolError) -> DumpReport {
    // What can be refused without touching the guest is refused first.
    let output = try Output(options.output, isForced: options.isForced, opensNow: true)
    let signals = try attempt(options.transfer.place.name) { () throws(SystemError) in
      try EndingSignals()
    }
    let request = options.transfer.carrying(.save).request
    switch options.transfer.place {
    case .process(let program, let monitor):
      let disk = try TransferDisk.make(request)
      let agent = try LocalAgent.start(program, monitor, disk, options.transfer)
      return try run(options, to: output, over: disk, with: agent, signals)
    case .stubdomain(let place):
      var agent = try StubdomainAgent.find(place)
      let disk: TransferDisk
      do throws(ToolError) {
        disk = try TransferDisk.make(request)
      } catch {
        throw agent.giveUp(after: error, guestIsStopped: false)
      }
      return try run(options, to: output, over: disk, with: agent, signals)
    }
  }

  private static func run<Agent: AgentPeer & ~Copyable>(
    _ options: DumpOptions, to first: consuming Output, over disk: consuming TransferDisk,
    with peer: consuming Agent, _ held: consuming EndingSignals
  ) throws(ToolError) -> DumpReport {
    var signals: EndingSignals? = held
    let number = EndingSignals.number(of: signals)
    do throws(ToolError) {
      return try run(options, to: first, with: peer, over: disk, &signals, number)
    } catch {
      // A signal that ends the process now would keep this from being said.
      if error.guestStaysStopped { signals.take()?.settle() }
      throw error
    }
  }

  private static func run<Agent: AgentPeer & ~Copyable>(
    _ options: DumpOptions, to first: consuming Output, with peer: consuming Agent,
    over disk: consuming TransferDisk, _ signals: inout EndingSignals?, _ number: Int32?
  ) throws(ToolError) -> DumpReport {
    var output = first
    var agent = peer
    var disk = disk
    let origin: Origin?
    do throws(ToolError) {
      origin = try agent.origin()
    } catch {
      throw agent.giveUp(after: error, guestIsStopped: false)
    }
    let taken = try take(options, over: &disk, from: &agent, number)
    let agents = Origin.agents(taken.carried.metadata)
    let metadata = origin?.lines(with: agents, at: Date()) ?? agents
    if !taken.guestIsStopped { agent.letGo() }
    let hasWork = taken.guestIsStopped || agent.hasWorkAtEnd
    // From here on nothing has to be put right.
    if !hasWork { signals = nil }
    do throws(ToolError) {
      try deliver(
        taken.carried, metadata, options, to: &output, heeding: hasWork ? number : nil)
    } catch {
      throw hasWork ? agent.giveUp(after: error, guestIsStopped: taken.guestIsStopped) : error
    }
    var warnings = taken.isUnasked ? [unasked] : []
    if hasWork {
      if taken.guestIsStopped {
        try keepStopped(&agent, options)
      } else if options.keepsPaused {
        agent.keepGuest()
      }
      // Not before the stubdomain has let go of it.
      agent.idle()
      warnings += finish(disk) + agent.end()
      // A signal that comes now is too late: who waits for the guest's end must see success.
      signals.take()?.settle()
    }
    return DumpReport(
      stateBytes: taken.carried.stateBytes, diskBytes: taken.carried.diskBytes,
      digest: taken.carried.digest, metadata: metadata, warnings: warnings)
  }

  private static var unasked: PlainText {
    var text = PlainText()
    text.append("the agent speaks version 1 of the rendezvous: nobody has asked QEMU whether ")
    text.append("it can be saved")
    return text
  }

  /// The agent that was to do it has died, and another has taken the state of a guest that stood.
  private static func letGoOn<Agent: AgentPeer & ~Copyable>(
    _ agent: inout Agent, _ options: DumpOptions
  ) throws(ToolError) {
    if agent.say(.cont) { return }
    let error = ToolError(.stubdomainFailed, options.transfer.place.name) {
      $0.append("the agent died and was replaced in the middle")
    }
    throw agent.giveUp(after: error, guestIsStopped: true)
  }

  /// Success is only what the agent has confirmed: a guest that goes on after its state has been
  /// taken for good would be there twice.
  private static func keepStopped<Agent: AgentPeer & ~Copyable>(
    _ agent: inout Agent, _ options: DumpOptions
  ) throws(ToolError) {
    if agent.say(.keep) { return agent.keepGuest() }
    let error = ToolError(.stubdomainFailed, options.output) {
      $0.append("is complete, but the agent did not confirm that the guest stays stopped")
    }
    throw agent.giveUp(after: error, guestIsStopped: true)
  }

  /// The disk's end, after its state has been handed on.
  ///
  /// - Returns: what to tell of it.
  private static func finish(_ disk: consuming TransferDisk) -> [PlainText] {
    var disk = disk
    do throws(ToolError) {
      try disk.wipe()
      return []
    } catch {
      var text = PlainText()
      text.append("the disk could not be made zeros again: ")
      text.append(error.text)
      return [text]
    }
  }

  private struct Taken: ~Copyable {
    let carried: CarriedState
    /// By the agent; it stays so unless something fails.
    let guestIsStopped: Bool
    /// Nobody has asked QEMU whether it can be saved, though somebody was to.
    let isUnasked: Bool
  }

  /// The state, over the disk.
  private static func take<Agent: AgentPeer & ~Copyable>(
    _ options: DumpOptions, over disk: inout TransferDisk, from agent: inout Agent,
    _ signals: Int32?
  ) throws(ToolError) -> Taken {
    var carrying = options.transfer.carrying(.save)
    carrying.isDecoding = options.format != .archive
    let wish: GuestWish
    do throws(ToolError) {
      wish = try agent.prepareGuest(
        options.pauses ? (options.keepsPaused ? .keep : .pause) : .paused)
    } catch {
      throw agent.giveUp(after: error, guestIsStopped: false)
    }
    var hasGrown = false
    while true {
      let machine = try agent.offer(disk, options.transfer, signals: signals) {
        .take($0, maxBytes: options.transfer.maxStateBytes, wish, options.transfer.blockers)
      }
      switch machine.ending {
      case .answered(.committed(_, let guest))?
      where wish == .keep && guest != .stopped && guest != .paused:
        throw agent.giveUp(
          after: ToolError(.stubdomainFailed, options.transfer.place.name) {
            $0.append("the guest was to be kept stopped, and the agent does not say that it is")
          }, guestIsStopped: true)
      case .answered(.committed(let bytes, _))?:
        let isStopped = machine.hasStoppedGuest
        // Its state is taken: nothing that follows concerns it.
        if !isStopped && wish != .keep { agent.resumeGuest() }
        let carried = try fetch(&disk, bytes, carrying, isStopped, &agent)
        if isStopped && wish == .pause { try letGoOn(&agent, options) }
        return Taken(
          carried: carried, guestIsStopped: isStopped && wish == .keep,
          isUnasked: options.transfer.blockers == .heed && !machine.wanted.isHeedingBlockers)
      case .answered(.failed(_, let needed, _, .small, words: _))?
      where !hasGrown && disk.canGrow && needed > disk.header.capacityBytes
        && needed <= carrying.limits.maxDiskBytes:
        hasGrown = true
        agent.idle()
        do throws(ToolError) {
          try disk.grow(to: needed, carrying.request)
        } catch {
          throw agent.giveUp(after: error, guestIsStopped: false)
        }
      default:
        throw agent.giveUp(machine, EndingFacts(options.transfer, disk))
      }
    }
  }

  /// Everything from the disk, which is not looked at any more then.
  private static func fetch<Agent: AgentPeer & ~Copyable>(
    _ disk: inout TransferDisk, _ saidBytes: UInt64, _ carrying: CarryOptions,
    _ guestIsStopped: Bool, _ agent: inout Agent
  ) throws(ToolError) -> CarriedState {
    do throws(ToolError) {
      let carried = try disk.fetch(carrying, saidBytes: saidBytes)
      // A process has closed it; a stubdomain may still write.
      if !agent.hasWorkAtEnd { try disk.wipe() }
      return carried
    } catch {
      throw agent.giveUp(after: error, guestIsStopped: guestIsStopped)
    }
  }

  /// Hands a verified state on.
  ///
  /// - Parameter signals: once a signal has come in there, nothing more is written; nil if signals
  ///   end the process by themselves.
  static func deliver(
    _ carried: borrowing CarriedState, _ metadata: [UInt8], _ options: DumpOptions,
    to output: inout Output, heeding signals: Int32?
  ) throws(ToolError) {
    let path = options.output
    // Everything is there before the first byte goes out, in one file: what is written in place
    // cannot be taken back, and a state that lost its trailer would look like a bare one.
    switch options.format {
    case .state: try appendTrailer(to: carried, metadata, options)
    case .raw:
      let file = try attempt(path) { () throws(SystemError) in try carried.state.file() }
      try DecoderProcess.requireNoTrailer(
        of: file, path, bytes: carried.stateBytes,
        limits: options.transfer.carrying(.save).limits)
    case .archive: break
    }
    let target = try output.descriptor()
    try attempt(path) { () throws(SystemError) in
      switch options.format {
      case .archive:
        try carried.disk.copy(bytes: carried.diskBytes, to: target, heeding: signals)
      case .raw, .state:
        let file = try carried.state.file()
        try file.copy(bytes: try file.status().bytes, to: target, heeding: signals)
      }
    }
    try output.publish(heeding: signals, isDurable: options.isDurable)
  }

  /// Behind the state, in the file that is private to this process.
  private static func appendTrailer(
    to carried: borrowing CarriedState, _ metadata: [UInt8], _ options: DumpOptions
  ) throws(ToolError) {
    let path = options.output
    let header = try attempt(path) { () throws(SystemError) in
      try options.transfer.carrying(.save).request.options.header(capacityBytes: 0)
    }
    let file = try attempt(path) { () throws(SystemError) in
      let file = try carried.state.file()
      try file.seek(to: carried.stateBytes)
      return file
    }
    do throws(WriteError) {
      try StateFile.appendTrailer(
        to: file, stateBytes: carried.stateBytes, stateDigest: carried.digest,
        metadata: metadata, header: header)
    } catch {
      throw ToolError(ExitStatus(error), path) { $0.append(error) }
    }
  }
}
