import SaveDisk
import Testing

@testable import Toolstack

/// What ends the claims of others.
extension ClaimModel {
  /// The claim of a disk that has been taken away.
  func end(_ index: Int, _ world: inout World) {
    let actor = world.actors[index]
    guard let number = actor.number, let id = actor.id else { return }
    let disk = Node(domain: actor.domain, number: number, id: id, isUsers: false).disk
    func isItsOwn() -> Bool { world.files[number]?.mark.isOf(disk) ?? false }
    switch actor.step {
    case .look:
      if isItsOwn() { world.actors[index].step = .endTurn } else { ended(index, &world) }
    case .endOpen:
      guard let file = world.files[number] else { return ended(index, &world) }
      world.actors[index].inode = file.inode
      world.actors[index].step = .endLock
    case .endLock:
      guard let inode = actor.inode else { return }
      // Its owner may be at his end; `gc` finds it then.
      if world.isLocked(inode, except: index) { return ended(index, &world) }
      if world.files[number]?.inode != inode && !faults.contains(.trustsOpened) {
        world.actors[index].step = .endOpen
        return
      }
      world.actors[index].hasLock = true
      world.actors[index].step = .endUnlink
    case .endUnlink:
      if faults.contains(.endsByNumber) || isItsOwn() { world.files[number] = nil }
      ended(index, &world)
    default: break
    }
  }

  private func ended(_ index: Int, _ world: inout World) {
    drop(index, &world)
    switch world.actors[index].kind {
    case .collect: world.actors[index].step = .removeNode
    default: leave(index, .done, &world)
    }
  }

  func nextDomain(_ index: Int, _ world: inout World) {
    if world.domainLocks[world.actors[index].domain] == index {
      world.domainLocks[world.actors[index].domain] = nil
    }
    if world.actors[index].domain == 0 {
      world.actors[index].domain = 1
      world.actors[index].step = .domain
    } else {
      world.actors[index].number = 0
      world.actors[index].step = .sweepLook
    }
  }

  /// All claims without a living owner.
  func sweep(_ index: Int, _ world: inout World) {
    let actor = world.actors[index]
    guard let number = actor.number else { return }
    switch actor.step {
    case .sweepLook:
      world.actors[index].seen = faults.contains(.looksBefore) ? world.nodes : []
      world.actors[index].step = .sweepTurn
    case .sweepOpen:
      guard let file = world.files[number] else { return swept(index, &world) }
      world.actors[index].inode = file.inode
      world.actors[index].step = .sweepLock
    case .sweepLock:
      guard let inode = actor.inode else { return }
      if world.isLocked(inode, except: index) { return swept(index, &world) }
      if world.files[number]?.inode != inode && !faults.contains(.trustsOpened) {
        world.actors[index].step = .sweepOpen
        return
      }
      world.actors[index].hasLock = true
      world.actors[index].step = .sweepUnlink
    case .sweepUnlink:
      let nodes = faults.contains(.looksBefore) ? actor.seen : world.nodes
      let isNeeded = world.files[number]?.mark.isNeeded(
        on: (7, UInt32(number)), by: nodes.map(\.disk))
      if isNeeded == false { world.files[number] = nil }
      swept(index, &world)
    default: break
    }
  }

  private func swept(_ index: Int, _ world: inout World) {
    drop(index, &world)
    world.actors[index].seen = []
    if world.actors[index].number == 0 {
      world.actors[index].number = 1
      world.actors[index].step = .sweepLook
    } else {
      leave(index, .done, &world)
    }
  }
}
