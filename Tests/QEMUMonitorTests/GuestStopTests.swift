import Testing

@testable import QEMUMonitor

// Invariants, in every order of commands, deaths, stops and resumes by others, of two clients at a time:
// - the relay lets a guest go on only if a client's `stop` has stopped it, no client has heard that its
//   state was saved, and whoever had it last has gone;
// - if nobody is left who could, it does;
// - a client that has gone owns nothing.

/// A guest, a QEMU that does one command after the other, and two places for clients.
private struct World: Hashable {
  enum Stand: Hashable { case runs, stoppedByClient, stoppedByOther, saved }
  enum Who: Hashable {
    case client(UInt64)
    case relay
  }
  struct Command: Hashable {
    let who: Who
    let kind: QMPRelay.Kind
  }

  var stand = Stand.runs
  var queue: [Command] = []
  var clients: [UInt64] = [1, 2]
  var born: UInt64 = 2
  var isResuming = false
  var stop = GuestStop()

  enum Step: Hashable {
    case send(Int, QMPRelay.Kind)
    case death(Int)
    case qemu, otherStops, otherResumes, relayResumes, qemuLost
  }

  static let steps: [Step] =
    [.qemu, .otherStops, .otherResumes, .relayResumes, .qemuLost]
    + [0, 1].flatMap { place in
      [.stop, .save, .cont].map { .send(place, $0) } + [.death(place)]
    }

  /// As `QMPRelay.stop`.
  var cause: QMPRelay.StopCause? {
    guard let first = queue.first(where: { $0.kind == .stop }), case .client(let id) = first.who
    else { return nil }
    return clients.contains(id) ? .client(id) : .goneClient
  }

  func after(_ step: Step) -> World? {
    var world = self
    switch step {
    case .send(let place, let kind):
      let client = clients[place]
      if queue.contains(where: { $0.who == .client(client) }) { return nil }
      world.queue.append(Command(who: .client(client), kind: kind))
      world.stop.pass(kind, of: client)
    case .qemu:
      guard let command = queue.first else { return nil }
      world.run(command)
    case .death(let place):
      if born >= 4 { return nil }
      world.born += 1
      world.stop.clientIsGone(clients[place])
      world.clients[place] = world.born
    case .otherStops:
      // Between a client's `stop` and QEMU's event nothing tells whose it was.
      guard stand == .runs, cause == nil else { return nil }
      world.stand = .stoppedByOther
      world.stop.guestStopped(by: nil)
    case .otherResumes:
      guard stand != .runs else { return nil }
      world.stand = .runs
      world.stop.guestRuns()
    case .relayResumes:
      guard stop.state == .abandoned, !isResuming else { return nil }
      world.isResuming = true
      world.queue.append(Command(who: .relay, kind: .cont))
    case .qemuLost:
      guard !queue.isEmpty else { return nil }
      world.stop.loseQEMU(at: cause)
      // It has not done what was still under way.
      world.queue = []
      world.isResuming = false
    }
    return world
  }

  private mutating func run(_ command: Command) {
    switch command.kind {
    case .stop:
      if stand == .runs {
        stop.guestStopped(by: cause)
        stand = .stoppedByClient
      }
    case .cont:
      if stand != .runs { stop.guestRuns() }
      stand = .runs
      stop.guestRuns()
      if command.who == .relay { isResuming = false }
    case .save:
      if case .client(let id) = command.who, clients.contains(id) {
        stop.stateIsSaved()
        if stand != .runs { stand = .saved }
      }
    default: break
    }
    queue.removeFirst()
  }
}

@Suite struct GuestStopTests {
  @Test func `in every order`() {
    var known: Set<World> = [World()]
    var edge = [World()]
    for _ in 0..<9 {
      var next: [World] = []
      for world in edge {
        for step in World.steps {
          guard let new = world.after(step) else { continue }
          check(world, step, new)
          if known.insert(new).inserted { next.append(new) }
        }
      }
      edge = next
    }
    #expect(known.count > 5_000)
  }

  private func check(_ world: World, _ step: World.Step, _ new: World) {
    if case .held(let client) = new.stop.state { #expect(new.clients.contains(client)) }
    // Nothing is under way that could change it, and it has not been lost what was.
    guard world.queue.isEmpty else { return }
    if step == .relayResumes, world.stand != .runs {
      #expect(world.stand == .stoppedByClient, "\(world)")
    }
    if world.stop.state == .none { #expect(world.stand != .stoppedByClient, "\(world)") }
  }

  @Test func `a stop that was under way when QEMU was lost`() {
    var stop = GuestStop()
    stop.loseQEMU(at: .client(1))
    #expect(stop.state == .held(1))
    stop.clientIsGone(1)
    #expect(stop.state == .abandoned)
    stop.loseQEMU(at: nil)
    #expect(stop.state == .abandoned)
    stop.guestRuns()
    stop.loseQEMU(at: .goneClient)
    #expect(stop.state == .abandoned)
  }

  @Test func `what a killed proxy has left`() {
    var stop = GuestStop()
    stop.inherit()
    #expect(stop.state == .abandoned)
    // libxl goes on with its save.
    stop.pass(.other, of: 7)
    #expect(stop.state == .abandoned)
    stop.pass(.save, of: 7)
    #expect(stop.state == .held(7))
    stop.stateIsSaved()
    stop.clientIsGone(7)
    #expect(stop.state == .none)
  }
}
