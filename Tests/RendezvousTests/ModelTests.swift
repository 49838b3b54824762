import Rendezvous
import SaveDisk
import Testing

// The two machines themselves, explored together: every order in which messages are written, seen,
// replaced unseen, sides die, deadlines pass, and the work goes well or fails.
//
// Invariants:
// - dom0 never waits for something that cannot come: from every state it ends within its
//   deadlines, whatever the agent does;
// - an honest agent's `committed` is never believed without a commit on the disk of that very
//   offer; a lying agent's may be, and then the disk's verdict refuses it;
// - the agent never works on a disk whose offer it has seen withdrawn, and never on two;
// - once dom0 has ended and its idle offer has been seen, a living agent is idle and has closed its disk;
// - a final answer for one offer is never taken for another's;
// - dom0 and an agent of version 1 come to terms, and nobody is offered more than once more.

@Suite struct ModelTests {
  /// Everything that can be in a different way; compared and hashed as a whole.
  struct World: Hashable {
    /// dom0: the current offer, nil before the first and after the last.
    var dom0: OfferMachine?
    /// Offers that have been made; the next has this number.
    var offersMade = 0
    /// How the last one ended.
    var ending: OfferMachine.Ending?
    var agent = AgentMachine()
    var agentLives = true
    /// The cells. An offer is one of dom0's own, or idle.
    var offer = Offer.idle
    var answer = Reading<Answer>.nothing
    /// The work that the agent has under way, by the offer's id.
    var work: Bytes16?
    var hasProgressed = false
    /// Ids of disks on which there is a commit.
    var commits: Set<Bytes16> = []
  }

  static let device = MessageTests.disk(MessageTests.xvdz)
  static let maxOffers = 2

  static func id(_ number: Int) -> Bytes16 { Bytes16(first: UInt64(number), last: 1) }

  /// Of the same once more, in the agent's version.
  static func againID(_ id: Bytes16) -> Bytes16 { Bytes16(first: id[0] == 0 ? 10 : 11, last: 1) }

  static func isSecond(_ id: Bytes16) -> Bool { id == Self.id(1) || id == Self.id(11) }

  /// A save, then a load or another save: the second may meet what the first has left.
  static func verb(_ number: Int, _ second: Verb) -> Verb {
    number == 0 ? .save(device, maxBytes: 1 << 20) : second
  }

  /// What a lying agent may put into its cell, for either id.
  static let lies: [Reading<Answer>] =
    [.nothing, .nonsense, .unknown(version: 2, id: id(0))]
    + [0, 1, 7, 10].flatMap { number -> [Reading<Answer>] in
      [
        .message(.of(id: id(number), .accepted)), .message(.of(id: id(number), .ready)),
        .message(.of(id: id(number), .committed(diskBytes: 8192, .stopped))),
        .message(.of(id: id(number), .loaded(stateBytes: 1))),
        .message(.of(id: id(number), .failed(code: 7, neededBytes: 1 << 40, .running, .small))),
        .message(.unsupported(id: id(number), version: 0)),
        .message(.unsupported(id: id(number), version: 1)),
      ]
    }

  struct Step {
    let name: String
    let world: World
  }

  /// Applies what the agent's machine wants done.
  static func apply(_ actions: [AgentMachine.Action], to world: inout World) {
    for action in actions {
      switch action {
      case .stop:
        #expect(world.work != nil, "stopped without work")
        world.work = nil
      case .answer(let answer): world.answer = .message(answer)
      case .release: break
      case .begin(let wanted):
        #expect(world.work == nil, "two works at once")
        world.work = wanted.id
        world.hasProgressed = false
      }
    }
  }

  /// What `Offerer` does of an older agent.
  static func again(_ machine: OfferMachine) -> OfferMachine? {
    machine.inVersionOfAgent(id: againID(machine.wanted.id), milliseconds: 1)
      .map { OfferMachine($0) }
  }

  static func steps(_ world: World, second: Verb, isLying: Bool) -> [Step] {
    var steps: [Step] = []
    func add(_ name: String, _ change: (inout World) -> Void) {
      var next = world
      change(&next)
      steps.append(Step(name: name, world: next))
    }
    // dom0.
    if var machine = world.dom0 {
      if world.dom0?.ending == nil {
        for (name, event) in [
          ("dom0 looks", OfferMachine.Event.answer(world.answer)),
          ("first deadline", .firstDeadline),
          ("last deadline", .lastDeadline), ("gone", .gone), ("interrupted", .interrupted),
        ] {
          var next = machine
          next.handle(event)
          if next != machine || name == "dom0 looks" { add(name) { $0.dom0 = next } }
        }
      } else {
        machine.handle(.lastDeadline)
        #expect(machine == world.dom0, "an ending is final")
        if let again = again(machine) {
          add("dom0 offers once more") {
            $0.dom0 = again
            $0.offer = again.offer
            $0.answer = .nothing
          }
        } else {
          add("dom0 withdraws") {
            $0.ending = machine.ending
            $0.offer = machine.offer
            $0.dom0 = nil
          }
        }
      }
    } else if world.offersMade < maxOffers {
      add("dom0 offers") {
        let machine = OfferMachine(
          Wanted(
            id: id(world.offersMade), verb(world.offersMade, second), milliseconds: 1))
        $0.dom0 = machine
        $0.offersMade += 1
        $0.offer = machine.offer
        $0.ending = nil
        // Made anew with each offer (section 7.2).
        $0.answer = .nothing
      }
    }
    // The agent.
    if isLying {
      for lie in lies { add("lie") { $0.answer = lie } }
      return steps
    }
    guard world.agentLives else { return steps }
    add("agent looks") { apply($0.agent.handle(.offer(.message($0.offer))), to: &$0) }
    add("agent looks at a broken cell") { apply($0.agent.handle(.offer(.nonsense)), to: &$0) }
    add("agent dies") {
      apply($0.agent.handle(.carrierGone), to: &$0)
      $0.agentLives = false
      $0.work = nil
    }
    if let work = world.work {
      if !world.hasProgressed {
        add("progress") {
          $0.hasProgressed = true
          apply($0.agent.handle(.progressed(bytes: 4096, .unknown)), to: &$0)
        }
      }
      let isLoad = isSecond(work) && second == .load(device, maxBytes: 1)
      add("done") {
        $0.work = nil
        if !isLoad { $0.commits.insert(work) }
        let kind = isLoad ? AnswerKind.loaded(stateBytes: 1) : .committed(diskBytes: 8192, .stopped)
        apply($0.agent.handle(.finished(kind)), to: &$0)
      }
      add("fails") {
        $0.work = nil
        apply(
          $0.agent.handle(.finished(.failed(code: 11, neededBytes: 0, .stopped, .device))), to: &$0)
      }
    }
    return steps
  }

  /// What must hold in every state.
  static func check(_ world: World, isLying: Bool) -> String? {
    if let work = world.work, case .working(let id) = world.agent.state, id != work {
      return "works on another disk than it says"
    }
    if case .working = world.agent.state, world.work == nil { return "nothing is worked on" }
    if let machine = world.dom0, !isLying, case .unsupported = machine.ending,
      again(machine) == nil
    {
      return "parts from an agent that it could speak with"
    }
    if let machine = world.dom0, case .answered(let kind)? = machine.ending {
      if !kind.fits(machine.wanted.verb) { return "an answer that does not fit" }
      if case .committed = kind, !isLying && !world.commits.contains(machine.wanted.id) {
        return "committed is believed without a commit"
      }
    }
    return nil
  }

  /// All worlds that can be reached, breadth first.
  static func explore(
    second: Verb, isLying: Bool, agent highest: UInt32
  ) -> (worlds: Set<World>, steps: Int) {
    let start = World(agent: AgentMachine(highest: highest))
    var seen: Set<World> = [start]
    var waiting: [World] = [start]
    var count = 0
    while let world = waiting.popLast() {
      if let fault = check(world, isLying: isLying) { Issue.record("\(fault): \(world)") }
      for step in steps(world, second: second, isLying: isLying) {
        count += 1
        if seen.insert(step.world).inserted { waiting.append(step.world) }
      }
    }
    return (seen, count)
  }

  static let seconds: [Verb] = [.load(device, maxBytes: 1), .save(device, maxBytes: 1)]

  @Test(arguments: seconds, [(false, 2), (false, 1), (true, 2)] as [(Bool, UInt32)])
  func `every interleaving`(second: Verb, agent: (isLying: Bool, highest: UInt32)) {
    let isLying = agent.isLying
    let (worlds, steps) = Self.explore(
      second: second, isLying: isLying, agent: agent.highest)
    #expect(worlds.count > 100 && steps > worlds.count)
    var ends: Set<String> = []
    for world in worlds {
      // dom0 can always end, by its clock alone.
      if var machine = world.dom0 {
        machine.handle(.lastDeadline)
        if machine.ending == nil { Issue.record("cannot end: \(world)") }
        #expect(machine.offer == .idle)
      }
      // A living agent that looks at an idle offer has nothing open.
      if world.agentLives, world.offer == .idle, !isLying {
        var after = world
        Self.apply(after.agent.handle(.offer(.message(.idle))), to: &after)
        #expect(after.work == nil && after.agent.state == .idle)
      }
      if let ending = world.ending { ends.insert("\(ending)") }
    }
    // The model is not so narrow that nothing happens in it.
    for expected in ["silence", "deadline", "gone", "committed"] {
      #expect(ends.contains { $0.contains(expected) }, "\(expected)")
    }
    if isLying { #expect(ends.contains { $0.contains("nonsense") }) }
  }

  /// From every state an honest agent and dom0 that are left alone, with no deadline passing, come
  /// to a final answer.
  @Test(arguments: seconds, [1, 2] as [UInt32])
  func `left alone they come to an end`(second: Verb, highest: UInt32) {
    let (worlds, _) = Self.explore(second: second, isLying: false, agent: highest)
    var tried = 0
    for world in worlds where world.agentLives && world.dom0 != nil {
      var world = world
      tried += 1
      for _ in 0..<8 where world.dom0?.ending == nil {
        Self.apply(world.agent.handle(.offer(.message(world.offer))), to: &world)
        if let work = world.work {
          world.work = nil
          let isLoad = Self.isSecond(work) && second == .load(Self.device, maxBytes: 1)
          let kind =
            isLoad ? AnswerKind.loaded(stateBytes: 1) : .committed(diskBytes: 8192, .stopped)
          if !isLoad { world.commits.insert(work) }
          Self.apply(world.agent.handle(.finished(kind)), to: &world)
        }
        world.dom0?.handle(.answer(world.answer))
        if let machine = world.dom0, let again = Self.again(machine) {
          world.dom0 = again
          world.offer = again.offer
          world.answer = .nothing
        }
      }
      if world.dom0?.ending == nil { Issue.record("no end: \(world)") }
    }
    #expect(tried > 50)
  }
}
