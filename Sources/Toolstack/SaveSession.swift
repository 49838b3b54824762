import Foundation
import Rendezvous
import SaveDisk
import SystemIO
import Transfer

/// A save that somebody else orders from QEMU: the disk is attached and the agent made ready before
/// the guest stops, so that what is left to do while it stands is short.
struct SaveSession: ~Copyable {
  private var agent: StubdomainAgent
  private var disk: TransferDisk
  private let options: DumpOptions
  /// QEMU has written nothing since the agent was made ready.
  private var isReady = false
  /// Nobody needs the disk any more.
  private(set) var isOver = false

  /// libxl gives its commands 10 s: making ready, and taking two disks back, must fit into it.
  private static let detachMilliseconds: UInt64 = 2_000

  /// Attaches a disk.
  static func begin(
    _ options: DumpOptions, at place: StubdomainPlace, until deadline: Deadline, signals: Int32
  ) throws(ToolError) -> SaveSession {
    var agent = try StubdomainAgent.find(place)
    agent.attachMilliseconds = UInt64(max(deadline.remainingMilliseconds, 1))
    agent.detachMilliseconds = detachMilliseconds
    let disk: TransferDisk
    do throws(ToolError) {
      disk = try TransferDisk.make(options.transfer.carrying(.save).request)
    } catch {
      throw agent.giveUp(after: error, guestIsStopped: false)
    }
    do throws(ToolError) {
      try agent.attach(disk, isReadOnly: false, signals: signals)
    } catch {
      throw agent.giveUp(after: error, guestIsStopped: false)
    }
    return SaveSession(agent: agent, disk: disk, options: options)
  }

  /// Has the agent drop what QEMU has written before, unless it has nothing to drop.
  ///
  /// - Throws: the session is over then.
  mutating func makeReady(until deadline: Deadline, signals: Int32) throws(ToolError) {
    if isReady { return }
    let facts = EndingFacts(options.transfer, disk)
    let wanted: Wanted
    do throws(SystemError) {
      wanted = try Wanted.new(
        .reset(maxBytes: options.transfer.maxStateBytes, options.transfer.blockers),
        milliseconds: UInt64(max(deadline.remainingMilliseconds, 1)))
    } catch {
      throw agent.giveUp(after: ToolError(error, facts.place), guestIsStopped: false)
    }
    let machine = agent.offer(wanted, signals: signals)
    guard machine.ending == .answered(.ready) else { throw agent.giveUp(machine, facts) }
    agent.withdraw()
    isReady = true
  }

  /// QEMU is told to write.
  mutating func isOrdered() { isReady = false }

  private init(
    agent: consuming StubdomainAgent, disk: consuming TransferDisk, options: DumpOptions
  ) {
    self.agent = agent
    self.disk = disk
    self.options = options
  }

  /// What QEMU has written, verified, to the output. After an error the session is over.
  mutating func save(signals: Int32) throws(ToolError) -> DumpReport {
    let carrying = options.transfer.carrying(.save)
    var hasGrown = false
    while true {
      let machine = try agent.offer(disk, options.transfer, signals: signals) {
        .save($0, maxBytes: options.transfer.maxStateBytes)
      }
      switch machine.ending {
      case .answered(.committed(let bytes, _))?:
        do throws(ToolError) {
          return try handOn(try disk.fetch(carrying, saidBytes: bytes), signals)
        } catch {
          throw agent.giveUp(after: error, guestIsStopped: false)
        }
      case .answered(.failed(_, let needed, _, .small, words: _))?
      where !hasGrown && needed > disk.header.capacityBytes
        && needed <= carrying.limits.maxDiskBytes:
        hasGrown = true
        agent.idle()
        do throws(ToolError) {
          try disk.grow(to: needed, carrying.request)
        } catch {
          throw agent.giveUp(after: error, guestIsStopped: false)
        }
      default: throw agent.giveUp(machine, EndingFacts(options.transfer, disk))
      }
    }
  }

  private mutating func handOn(
    _ carried: borrowing CarriedState, _ signals: Int32
  ) throws(ToolError) -> DumpReport {
    let origin = try agent.origin()
    let agents = Origin.agents(carried.metadata)
    let metadata = origin?.lines(with: agents, at: Date()) ?? agents
    var output = try Output(replacing: options.output)
    try Dump.deliver(carried, metadata, options, to: &output, heeding: signals)
    return DumpReport(
      stateBytes: carried.stateBytes, diskBytes: carried.diskBytes, digest: carried.digest,
      metadata: metadata, warnings: [])
  }

  /// The stubdomain is asked for the disk back; `end` takes it.
  mutating func letGo() {
    isOver = true
    agent.letGo()
  }

  /// Takes the disk away.
  ///
  /// - Returns: what to tell of it.
  consuming func end() -> [PlainText] {
    agent.idle()
    let disk = self.disk
    _ = consume disk
    return agent.end()
  }
}
