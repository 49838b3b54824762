import Testing

@testable import Toolstack

// All commands that make, keep or end claims, explored together: every order of their steps, each of
// them killed at each step, a domain that dies at any moment, and numbers of loop devices that are
// given again at once.
//
// Invariants:
// - a loop device that a command or a living domain has is claimed, and the claim is its own;
// - two are never at work with one domain, `gc` included;
// - a command is told "busy" only if another command is, or was, at work with its domain;
// - nobody waits for ever;
// - when all have ended, one `gc` leaves no claim but those of disks that users have attached to
//   domains that live, and each of these;
// - and every other rule that was tried breaks one of these.

@Suite struct ClaimModelTests {
  typealias World = ClaimModel.World

  static let scenes: [[(ClaimModel.Kind, Int)]] = [
    [(.transfer, 0), (.transfer, 1), (.collect, 0)],
    [(.attach, 0), (.detach, 0), (.transfer, 1), (.collect, 0)],
    [(.attach, 0), (.detach, 0), (.attach, 1)],
    [(.transfer, 0), (.attach, 0), (.collect, 0)],
    [(.attach, 0), (.collect, 0), (.collect, 0)],
    [(.transfer, 0), (.detach, 1), (.attach, 1), (.collect, 0)],
  ]

  static func next(_ world: World, _ model: ClaimModel) -> [World] {
    var found: [World] = []
    for index in world.actors.indices {
      if let after = model.step(index, world) { found.append(after) }
      if let after = model.kill(index, world) { found.append(after) }
    }
    // Domain 0 ends at any moment, and the kernel lets go of its disks; its nodes stay.
    if world.isAlive[0] {
      var after = world
      after.isAlive[0] = false
      found.append(after)
    }
    return found
  }

  /// What does not hold in a world.
  static func fault(_ world: World) -> String? {
    for number in 0...1 {
      let holder = world.binds[number].flatMap { world.actors[$0].id }
      let nodes = world.holders(number).filter { world.isAlive[$0.domain] }.map { Optional($0.id) }
      for id in Set(nodes + (holder == nil ? [] : [holder])) where world.files[number]?.id != id {
        return "a device is used without its claim"
      }
    }
    for domain in 0...1 {
      let atWork = world.actors.filter { actor in
        guard actor.isAtWork && actor.domain == domain else { return false }
        switch actor.step {
        case .sweepLook, .sweepTurn, .sweepOpen, .sweepLock, .sweepUnlink: return false
        default: return true
        }
      }
      if atWork.count > 1 { return "two at work with one domain" }
    }
    for (index, actor) in world.actors.enumerated() where actor.step == .busy {
      let hasCome = world.actors.enumerated().contains { other, one in
        other != index && one.kind != .collect && one.domain == actor.domain && one.step != .domain
      }
      if !hasCome { return "busy, and nobody is at work" }
    }
    return nil
  }

  /// What is wrong with one in which nobody does anything any more.
  static func fault(atEnd world: World, _ model: ClaimModel) -> String? {
    for actor in world.actors {
      switch actor.step {
      case .done, .busy, .dead: break
      default: return "somebody waits for ever"
      }
    }
    var after = world
    after.actors = [ClaimModel.Actor(kind: .collect, domain: 0, step: .domain)]
    after.kills = 0
    while let next = model.step(0, after) { after = next }
    if after.actors[0].step != .done { return "gc does not end" }
    if after.nodes.contains(where: { !$0.isUsers || !after.isAlive[$0.domain] }) {
      return "a disk is left"
    }
    for number in 0...1 where (after.files[number] != nil) != !after.holders(number).isEmpty {
      return "a claim is left or lost"
    }
    return nil
  }

  /// All worlds that can be reached; stops at the first fault.
  static func explore(
    _ scene: [(ClaimModel.Kind, Int)], _ model: ClaimModel
  ) -> (fault: String?, worlds: Int) {
    let start = ClaimModel.start(scene, kills: 1)
    var seen: Set<World> = [start]
    var waiting = [start]
    while let world = waiting.popLast() {
      if let fault = fault(world) { return ("\(fault): \(world)", seen.count) }
      let found = next(world, model)
      // A domain may still die, or a command be killed, where nobody goes on by himself.
      if world.actors.indices.allSatisfy({ model.step($0, world) == nil }),
        let fault = fault(atEnd: world, model)
      {
        return ("\(fault): \(world)", seen.count)
      }
      for after in found where seen.insert(after).inserted { waiting.append(after) }
    }
    return (nil, seen.count)
  }

  @Test(arguments: scenes.indices)
  func `every order of steps`(scene: Int) {
    let (fault, worlds) = Self.explore(Self.scenes[scene], ClaimModel(faults: []))
    #expect(fault == nil)
    // It is not so narrow that nothing happens in it.
    #expect(worlds > 1_000)
  }

  @Test(arguments: ClaimModel.Fault.allCases)
  func `other rules are found to be wrong`(fault: ClaimModel.Fault) {
    let found = Self.scenes.compactMap { Self.explore($0, ClaimModel(faults: [fault])).fault }
    #expect(!found.isEmpty)
  }
}
