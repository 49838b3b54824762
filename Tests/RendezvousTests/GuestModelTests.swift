import Rendezvous
import Testing

// The guest of a `take`, explored: both machines as they are, and around them what `dump` and the
// agent do with a guest (formats/rendezvous.md, section 3.1), in every order of messages, deadlines,
// failures and deaths, one violent death of an agent included. Over a socket pair both see each
// other's end; over xenstore they do not, but an agent that has ended is started anew while the offer
// stands. Agents know both versions of the rendezvous, or the first only, and one of the first
// may be followed by one of both.
//
// Invariants, where nothing can happen any more:
// - success means that the guest is as it was wished: going on, or, with `keep`, stopped;
// - after a failure it goes on, or dom0's user has been told that it could not be told; unless an
//   agent is killed that has not yet seen that dom0 has given up;
// - if dom0's side has been killed, it goes on, unless an agent has been killed too or the agent has
//   heard `keep`.

@Suite struct GuestModelTests {
  typealias World = GuestModel.World

  // MARK: Exploring

  static func steps(_ world: World) -> [World] {
    var steps: [World] = []
    func add(_ change: (inout World) -> Void) {
      var next = world
      change(&next)
      if next != world { steps.append(next) }
    }
    if let machine = GuestModel.machine(world.dom0) {
      var events: [OfferMachine.Event] = [.answer(world.answer), .lastDeadline]
      if case .taking = world.dom0 { events.append(.interrupted) }
      // The end is seen after everything that was said before it.
      if !world.isXenstore, !world.agentLives, world.answer == .nothing { events.append(.gone) }
      for event in events {
        add {
          var machine = machine
          machine.handle(event)
          // A packet is taken out of the carrier by a look, a node stays.
          if case .answer = event, !$0.isXenstore { $0.answer = .nothing }
          GuestModel.replace(machine, in: &$0)
        }
      }
    }
    if world.dom0 == .delivering {
      add { $0.dom0 = .keeping(GuestModel.offer(2, .keep, &$0)) }
      add { $0.dom0 = .conting(GuestModel.offer(3, .cont, &$0), isLast: $0.isXenstore) }
    }
    switch world.dom0 {
    case .succeeded, .failed, .dead: break
    default:
      add {
        $0.dom0 = .dead
        $0.isConnected = false
      }
    }
    guard world.agentLives else {
      if world.isXenstore && world.agentsRestarted == 0 {
        add {
          $0.agent = AgentMachine(highest: $0.versions.later)
          $0.agentLives = true
          $0.agentsRestarted = 1
          $0.inheritsFrom = $0.answer
        }
      }
      return steps
    }
    add { GuestModel.apply($0.agent.handle(.offer(.message($0.offer))), to: &$0) }
    if !world.isConnected && !world.isXenstore { add { GuestModel.endAgent(&$0) } }
    // It is told to end, by whoever runs it; or nobody has said keep in time.
    if world.isXenstore && world.agentsRestarted == 0 { add { GuestModel.endAgent(&$0) } }
    if world.work == nil { add { GuestModel.resume(&$0) } }
    if let work = world.work {
      add { GuestModel.work(work, &$0) }
      add {
        GuestModel.resume(&$0)
        let guest: GuestState = $0.guestRuns ? .running : .paused
        GuestModel.finish(.failed(code: 11, neededBytes: 0, guest, .device), &$0)
      }
    }
    if world.agentsKilled == 0 {
      add {
        $0.agentLives = false
        $0.work = nil
        $0.owes = false
        $0.agentsKilled = 1
        $0.isKilledAfterEnd = !$0.isConnected
      }
    }
    return steps
  }

  static func fault(_ world: World, _ wish: GuestWish) -> String? {
    switch world.dom0 {
    case .succeeded where world.guestRuns != (wish == .pause): "success, and the guest is not so"
    case .dead where world.isXenstore && world.agentsRestarted > 0: nil
    case .failed(isToldOfGuest: false) where !world.guestRuns && !world.isKilledAfterEnd:
      "failed, and the guest stands"
    case .dead where !world.guestRuns && world.agentsKilled == 0 && !world.keepWasHeard:
      "dom0 is dead, and the guest stands"
    default: nil
    }
  }

  @Test(
    arguments: [(GuestWish.pause, false), (.pause, true), (.keep, false), (.keep, true)],
    [(2, 2), (1, 1), (1, 2)] as [(UInt32, UInt32)])
  func `a guest is always somebody's`(
    this: (wish: GuestWish, isXenstore: Bool), agents: (first: UInt32, later: UInt32)
  ) {
    let wish = this.wish
    let versions = GuestModel.Versions(first: agents.first, later: agents.later)
    var seen: Set<World> = [
      GuestModel.start(wish, isXenstore: this.isXenstore, versions)
    ]
    var waiting = Array(seen)
    var ends: Set<GuestModel.Phase> = []
    var count = 0
    while let world = waiting.popLast() {
      let next = Self.steps(world)
      if next.isEmpty {
        count += 1
        ends.insert(world.dom0)
        if let fault = Self.fault(world, wish) { Issue.record("\(fault): \(world)") }
      }
      for step in next where seen.insert(step).inserted { waiting.append(step) }
    }
    #expect(seen.count > 100 && count > 10, "\(seen.count), \(count)")
    // The model is not so narrow that nothing happens in it.
    #expect(
      ends.isSuperset(of: [
        .succeeded, .failed(isToldOfGuest: false), .failed(isToldOfGuest: true), .dead,
      ]))
  }
}
