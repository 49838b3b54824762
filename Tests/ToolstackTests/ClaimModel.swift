import SaveDisk
import Testing
import Xen

@testable import Toolstack

/// Claims, the numbers of loop devices, domains, and the commands at work with them: every step is one
/// that the kernel or xenstored does at once, and any command may be killed before any of them.
///
/// Whose a claim is, is decided by `ClaimMark`, as in the commands themselves; the order of their steps
/// is told here once more, after `TransferDisk`, `DiskClaim`, `OwnedFile`, `Attaching` and `Collecting`.
struct ClaimModel {
  /// Ways to do it that were tried, or would be near: each must be found to be wrong.
  enum Fault: CaseIterable {
    /// A claim is ended by its device's number alone.
    case endsByNumber
    /// `gc` looks at xenstore before it has the claim's lock.
    case looksBefore
    /// `attach` and `detach` drop the domain's lock at once.
    case dropsDomain
    /// Commands are told "busy" by `gc`'s lock.
    case isBusyByCollector
    /// What is locked may have lost its name meanwhile.
    case trustsOpened
  }

  enum Kind: Hashable {
    case transfer, attach, detach, collect
  }

  enum Step: Hashable {
    case domain, turn, open, lock, write, bind, node, work
    case removeNode, close, unlink
    case look, endTurn, endOpen, endLock, endUnlink
    case sweepLook, sweepTurn, sweepOpen, sweepLock, sweepUnlink
    case done, busy, dead
  }

  struct Actor: Hashable {
    let kind: Kind
    /// The one that it is at work with; `collect` goes through all.
    var domain: Int
    var step: Step
    /// Number of the loop device.
    var number: Int?
    /// Of its claim, or of the one that it is to end.
    var id: UInt64?
    /// The file that it has opened; locked, if `hasLock`.
    var inode: Int?
    var hasLock = false
    /// What was to be seen in xenstore.
    var seen: [Node] = []

    var isAtWork: Bool { step != .domain && step != .done && step != .busy && step != .dead }
  }

  struct Node: Hashable {
    let domain: Int
    let number: Int
    let id: UInt64
    /// By `attach`.
    let isUsers: Bool

    var disk: AttachedDisk {
      AttachedDisk(
        domid: UInt32(domain), device: VirtualDevice.candidates[0],
        owner: isUsers ? .user : .command, majorMinor: (7, UInt32(number)), claim: id)
    }
  }

  struct File: Hashable {
    let inode: Int
    var id: UInt64?

    var mark: ClaimMark {
      guard let id else { return ClaimMark([]) }
      return ClaimMark(ClaimMark(id: id, bytes: 4096).text.bytes)
    }
  }

  struct World: Hashable {
    var actors: [Actor]
    var files: [File?] = [nil, nil]
    var nodes: [Node] = []
    /// Whose descriptor keeps a loop device in use; blkback's are the nodes.
    var binds: [Int?] = [nil, nil]
    var isAlive = [true, true]
    /// Actors.
    var domainLocks: [Int?] = [nil, nil]
    var turn: Int?
    var inodes = 0
    var ids: UInt64 = 0
    var kills: Int

    func isBound(_ number: Int) -> Bool {
      binds[number] != nil || holders(number).contains { isAlive[$0.domain] }
    }
    func holders(_ number: Int) -> [Node] { nodes.filter { $0.number == number } }
    func isLocked(_ inode: Int, except actor: Int) -> Bool {
      actors.indices.contains { $0 != actor && actors[$0].inode == inode && actors[$0].hasLock }
    }
  }

  let faults: Set<Fault>

  static func start(_ kinds: [(Kind, Int)], kills: Int) -> World {
    World(
      actors: kinds.map { kind, domain in
        Actor(kind: kind, domain: domain, step: .domain)
      }, kills: kills)
  }

  // MARK: Steps

  /// What one actor does next; nil if it waits, or has ended.
  func step(_ index: Int, _ before: World) -> World? {
    var world = before
    switch world.actors[index].step {
    case .done, .busy, .dead: return nil
    case .domain: return takeDomain(index, &world) ? world : nil
    case .turn, .endTurn, .sweepTurn:
      guard world.turn == nil else { return nil }
      world.turn = index
      let next: [Step: Step] = [.turn: .open, .endTurn: .endOpen, .sweepTurn: .sweepOpen]
      world.actors[index].step = next[world.actors[index].step] ?? .dead
    case .open, .lock, .write, .bind:
      guard claim(index, &world) else { return nil }
    case .node, .work, .removeNode, .close, .unlink: use(index, &world)
    case .look, .endOpen, .endLock, .endUnlink: end(index, &world)
    case .sweepLook, .sweepOpen, .sweepLock, .sweepUnlink: sweep(index, &world)
    }
    return world
  }

  private func takeDomain(_ index: Int, _ world: inout World) -> Bool {
    let actor = world.actors[index]
    let isCollector = actor.kind == .collect
    if let holder = world.domainLocks[actor.domain] {
      let isCollected = world.actors[holder].kind == .collect
      if isCollector {
        // Another is waited for, and a command is left alone.
        if isCollected { return false }
        nextDomain(index, &world)
      } else if isCollected && !faults.contains(.isBusyByCollector) {
        return false
      } else {
        world.actors[index].step = .busy
      }
      return true
    }
    let drops = faults.contains(.dropsDomain) && (actor.kind == .attach || actor.kind == .detach)
    if !drops { world.domainLocks[actor.domain] = index }
    world.actors[index].step =
      actor.kind == .collect || actor.kind == .detach ? .removeNode : .turn
    return true
  }

  /// Makes a claim, and the device. False while it has to wait.
  private func claim(_ index: Int, _ world: inout World) -> Bool {
    let actor = world.actors[index]
    switch actor.step {
    case .open:
      // LOOP_CTL_GET_FREE.
      guard let number = [0, 1].first(where: { !world.isBound($0) }) else { return false }
      world.actors[index].number = number
      if world.files[number] == nil {
        world.inodes += 1
        world.files[number] = File(inode: world.inodes, id: nil)
      }
      world.actors[index].inode = world.files[number]?.inode
      world.actors[index].step = .lock
    case .lock:
      guard let inode = actor.inode, let number = actor.number else { return false }
      if world.isLocked(inode, except: index) { return false }
      if world.files[number]?.inode != inode && !faults.contains(.trustsOpened) {
        world.actors[index].step = .open
        return true
      }
      world.actors[index].hasLock = true
      world.actors[index].step = .write
    case .write:
      world.ids += 1
      world.actors[index].id = world.ids
      if let number = actor.number, world.files[number]?.inode == actor.inode {
        world.files[number]?.id = world.ids
      }
      world.actors[index].step = .bind
    case .bind:
      if let number = actor.number { world.binds[number] = index }
      world.turn = nil
      world.actors[index].step = .node
    default: break
    }
    return true
  }

  /// Has a disk attached, and takes it away again or leaves it.
  private func use(_ index: Int, _ world: inout World) {
    let actor = world.actors[index]
    switch actor.step {
    case .node:
      guard let number = actor.number, let id = actor.id else { return }
      if world.isAlive[actor.domain] {
        world.nodes.append(
          Node(domain: actor.domain, number: number, id: id, isUsers: actor.kind == .attach))
        world.actors[index].step = .work
      } else {
        world.actors[index].step = .close
      }
    case .work: world.actors[index].step = actor.kind == .attach ? .close : .removeNode
    case .removeNode:
      removeNode(index, &world)
    case .close:
      if let number = actor.number, world.binds[number] == index { world.binds[number] = nil }
      let isKept = actor.kind == .attach && world.nodes.contains { $0.id == actor.id }
      if isKept { leave(index, .done, &world) } else { world.actors[index].step = .unlink }
    case .unlink:
      if let number = actor.number, world.files[number]?.inode == actor.inode {
        world.files[number] = nil
      }
      leave(index, .done, &world)
    default: break
    }
  }

  /// A transfer's own; of `detach` the user's; of `gc` what is left of a domain.
  private func removeNode(_ index: Int, _ world: inout World) {
    let actor = world.actors[index]
    let found = world.nodes.firstIndex { node in
      switch actor.kind {
      case .transfer, .attach: node.id == actor.id
      case .detach: node.domain == actor.domain && node.isUsers
      case .collect:
        node.domain == actor.domain && (!node.isUsers || !world.isAlive[actor.domain])
      }
    }
    let node = found.map { world.nodes.remove(at: $0) }
    switch actor.kind {
    case .transfer, .attach: world.actors[index].step = .close
    case .detach where node == nil: leave(index, .done, &world)
    case .collect where node == nil: nextDomain(index, &world)
    case .detach, .collect:
      world.actors[index].number = node?.number
      world.actors[index].id = node?.id
      world.actors[index].step = faults.contains(.endsByNumber) ? .endUnlink : .look
    }
  }

  /// The claim's lock and the turn.
  func drop(_ index: Int, _ world: inout World) {
    world.actors[index].inode = nil
    world.actors[index].hasLock = false
    if world.turn == index { world.turn = nil }
  }

  func leave(_ index: Int, _ step: Step, _ world: inout World) {
    drop(index, &world)
    for domain in 0...1 where world.domainLocks[domain] == index {
      world.domainLocks[domain] = nil
    }
    world.actors[index].seen = []
    world.actors[index].step = step
  }

  /// SIGKILL: the kernel takes the locks and the descriptors.
  func kill(_ index: Int, _ before: World) -> World? {
    let actor = before.actors[index]
    if before.kills == 0 || !actor.isAtWork { return nil }
    var world = before
    world.kills -= 1
    for number in 0...1 where world.binds[number] == index { world.binds[number] = nil }
    leave(index, .dead, &world)
    return world
  }
}
