import Rendezvous
import SaveDisk
import Testing

/// The guest of a `take`, and what dom0 and the agent do with it, around both machines as they are.
/// What is not the machines' is told here once more, after `Dump`, the two agent peers, and the
/// agent's service.
enum GuestModel {
  enum Phase: Hashable {
    case taking(OfferMachine)
    case delivering
    /// `keep`.
    case keeping(OfferMachine)
    /// `cont` after a success: the agent that was to do it is not the one that has answered.
    case letting(OfferMachine)
    /// `cont`, to the agent that was there or, the second time, to a new one.
    case conting(OfferMachine, isLast: Bool)
    case succeeded
    case failed(isToldOfGuest: Bool)
    case dead
  }

  enum Work: Hashable {
    case take(GuestWish, Step)
    case cont
    case keep
  }
  enum Step: Hashable { case begun, told, stopped, saved, written }

  struct World: Hashable {
    let wish: GuestWish
    let isXenstore: Bool
    /// The versions that agents know: the one that is there first, and any that follows it.
    let versions: Versions
    var dom0: Phase
    /// In which dom0 offers (`Offerer`).
    var version = RendezvousVersion.current
    var isConnected = true
    var offer: Offer
    var answer = Reading<Answer>.nothing
    var agent = AgentMachine()
    var agentLives = true
    var work: Work?
    /// The agent has stopped the guest, and owes it a word.
    var owes = false
    var guestRuns = true
    /// The first agent has written the disk; another finds it used.
    var diskIsUsed = false
    var agentsKilled = 0
    /// Over xenstore dom0 does not wait for the agent's end.
    var isKilledAfterEnd = false
    var agentsRestarted = 0
    /// What was in the second agent's own cell when it started.
    var inheritsFrom = Reading<Answer>.nothing
    var keepWasHeard = false
  }

  struct Versions: Hashable, Sendable {
    let first: UInt32
    let later: UInt32
  }

  static func wanted(
    _ number: UInt64, _ verb: Verb, version: UInt32 = RendezvousVersion.current
  ) -> Wanted {
    Wanted(id: Bytes16(first: number, last: 0), version: version, verb, milliseconds: 1)
  }

  static func start(_ wish: GuestWish, isXenstore: Bool, _ versions: Versions) -> World {
    let disk = MessageTests.disk(MessageTests.xvdz)
    let machine = OfferMachine(wanted(1, .take(disk, maxBytes: 1, wish)))
    return World(
      wish: wish, isXenstore: isXenstore, versions: versions, dom0: .taking(machine),
      offer: machine.offer, agent: AgentMachine(highest: versions.first))
  }

  // MARK: The agent

  static func resume(_ world: inout World) {
    guard world.owes else { return }
    world.owes = false
    world.guestRuns = true
  }

  static func apply(_ actions: [AgentMachine.Action], to world: inout World) {
    for action in actions {
      switch action {
      case .stop:
        world.work = nil
        resume(&world)
      case .release: resume(&world)
      case .answer(let answer): world.answer = .message(answer)
      case .begin(let wanted):
        if case .message(let answer) = world.inheritsFrom, answer.id == wanted.id,
          answer.guest == .stopped
        {
          world.owes = true
        }
        world.inheritsFrom = .nothing
        switch wanted.verb {
        case .take(_, _, let wish, _): world.work = .take(wish, .begun)
        case .cont: world.work = .cont
        case .keep: world.work = .keep
        default: Issue.record("not offered here: \(wanted)")
        }
      }
    }
  }

  static func finish(_ kind: AnswerKind, _ world: inout World) {
    world.work = nil
    apply(world.agent.handle(.finished(kind)), to: &world)
  }

  static func work(_ work: Work, _ world: inout World) {
    switch work {
    case .cont:
      world.owes = false
      world.guestRuns = true
      finish(.ready, &world)
    case .keep:
      if world.guestRuns {
        finish(.failed(code: 13, neededBytes: 0, .running, .runs), &world)
        return
      }
      world.owes = false
      world.keepWasHeard = true
      finish(.ready, &world)
    case .take(_, .begun) where world.diskIsUsed:
      resume(&world)
      let guest: GuestState = world.guestRuns ? .running : .paused
      finish(.failed(code: 12, neededBytes: 0, guest, .foreign), &world)
    case .take(let wish, .begun) where !world.guestRuns:
      if world.owes { apply(world.agent.handle(.progressed(bytes: 0, .stopped)), to: &world) }
      world.work = .take(wish, world.owes ? .stopped : .saved)
    case .take(let wish, .begun):
      apply(world.agent.handle(.progressed(bytes: 0, .stopped)), to: &world)
      world.work = .take(wish, .told)
    case .take(let wish, .told):
      world.owes = true
      world.guestRuns = false
      world.work = .take(wish, .stopped)
    case .take(let wish, .stopped):
      if wish == .pause {
        resume(&world)
        apply(world.agent.handle(.progressed(bytes: 0, .running)), to: &world)
      }
      world.work = .take(wish, .saved)
    case .take(let wish, .saved):
      world.diskIsUsed = true
      world.work = .take(wish, .written)
    case .take(_, .written):
      let guest: GuestState = world.owes ? .stopped : world.guestRuns ? .running : .paused
      finish(.committed(diskBytes: 8192, guest), &world)
    }
  }

  static func endAgent(_ world: inout World) {
    apply(world.agent.handle(.carrierGone), to: &world)
    world.work = nil
    world.agentLives = false
  }

  // MARK: dom0

  static func offer(_ number: UInt64, _ verb: Verb, _ world: inout World) -> OfferMachine {
    let machine = OfferMachine(wanted(number, verb, version: world.version))
    world.offer = machine.offer
    // Made anew with each offer (section 7.2).
    if world.isXenstore { world.answer = .nothing }
    return machine
  }

  /// Another process, because the first has ended or was ended.
  static func contByAnother(_ world: inout World) {
    world.agent = AgentMachine(highest: world.versions.later)
    world.version = RendezvousVersion.current
    world.agentLives = true
    world.isConnected = true
    world.work = nil
    world.owes = false
    world.answer = .nothing
    world.dom0 = .conting(offer(9, .cont, &world), isLast: true)
  }

  /// What dom0 does once its offer has ended.
  static func follow(_ machine: OfferMachine, _ world: inout World) {
    guard let ending = machine.ending else { return }
    if let again = machine.inVersionOfAgent(
      id: Bytes16(first: machine.wanted.id.first, last: 1), milliseconds: 1)
    {
      world.version = again.version
      let machine = OfferMachine(again)
      world.offer = machine.offer
      if world.isXenstore { world.answer = .nothing }
      return replace(machine, in: &world)
    }
    let isXenstore = world.isXenstore
    switch (world.dom0, ending) {
    case (.taking, .answered(.committed(_, let guest)))
    where world.wish == .keep && guest != .stopped && guest != .paused:
      world.dom0 = .conting(offer(6, .cont, &world), isLast: isXenstore)
    case (.taking, .answered(.committed)):
      if !machine.hasStoppedGuest {
        world.dom0 = .succeeded
      } else if world.wish == .keep {
        world.dom0 = .delivering
      } else {
        world.dom0 = .letting(offer(5, .cont, &world))
      }
    case (.taking, .answered(.failed(_, _, let guest, _, words: _))):
      if machine.owesCont {
        world.dom0 = .conting(offer(7, .cont, &world), isLast: isXenstore)
      } else {
        world.dom0 = .failed(isToldOfGuest: guest == .stopped)
      }
    case (.taking, _):
      if world.agentLives && !isXenstore { endAgent(&world) }
      var machine = machine
      machine.hearLast(world.answer)
      if !machine.owesCont {
        world.dom0 = .failed(isToldOfGuest: false)
      } else if isXenstore {
        world.dom0 = .conting(offer(8, .cont, &world), isLast: true)
      } else {
        contByAnother(&world)
      }
    case (.keeping, .answered(.ready)), (.letting, .answered(.ready)): world.dom0 = .succeeded
    case (.keeping, _), (.letting, _):
      world.dom0 = .conting(offer(4, .cont, &world), isLast: isXenstore)
    case (.conting, .answered(.ready)): world.dom0 = .failed(isToldOfGuest: false)
    case (.conting(_, isLast: false), _):
      if world.agentLives { endAgent(&world) }
      contByAnother(&world)
    case (.conting(_, isLast: true), _): world.dom0 = .failed(isToldOfGuest: true)
    default: Issue.record("nothing was offered")
    }
    switch world.dom0 {
    case .succeeded, .failed:
      world.offer = .idle
      world.isConnected = false
    default: break
    }
  }

  static func machine(_ phase: Phase) -> OfferMachine? {
    switch phase {
    case .taking(let machine), .keeping(let machine), .letting(let machine),
      .conting(let machine, _):
      machine
    default: nil
    }
  }

  static func replace(_ machine: OfferMachine, in world: inout World) {
    switch world.dom0 {
    case .taking: world.dom0 = .taking(machine)
    case .keeping: world.dom0 = .keeping(machine)
    case .letting: world.dom0 = .letting(machine)
    case .conting(_, let isLast): world.dom0 = .conting(machine, isLast: isLast)
    default: break
    }
    follow(machine, &world)
  }
}
