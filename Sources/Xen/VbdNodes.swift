import SaveDisk
import SystemIO
import Xenstore

/// The nodes of one virtual block device of one domain.
///
/// Both directories follow from two numbers of dom0's own: nothing that a domain writes, such as its
/// `backend` node, says where dom0 writes or removes.
struct VbdNodes {
  let domid: UInt32
  let device: VirtualDevice

  var backend: Node { Node.backends(domid)(device.number) }
  var frontend: Node { Node.domain(domid)("device")("vbd")(device.number) }
  var backendState: Node { backend("state") }
  /// That it is ours, and whose it is; not part of Xen's protocol.
  var owner: Node { backend("stubsave") }
  /// Which claim on the block device is its own; ours, too.
  var claim: Node { backend("stubsave-claim") }

  /// The nodes of a new device (xen/include/public/io/blkif.h, xenbus_state in io/xenbus.h).
  ///
  /// - Parameters:
  ///   - majorMinor: of the block device in dom0.
  ///   - label: what tools such as `xl block-list` show as its source.
  ///   - claim: its name, if there is one.
  func making(
    _ majorMinor: (major: UInt32, minor: UInt32), isReadOnly: Bool, label: [UInt8],
    owner: DiskOwner, claim: UInt64?
  ) -> [XenstoreChange] {
    var physical = PlainText()
    physical.append(plainHex: majorMinor.major)
    physical.append(":")
    physical.append(plainHex: majorMinor.minor)
    var changes: [XenstoreChange] = []
    // What follows inherits these permissions: the owner's entry comes first.
    func directory(_ node: Node, _ permissions: [XenstorePermission]) {
      changes += [.makeDirectory(node.path), .setPermissions(node.path, permissions)]
    }
    func write(_ node: Node, _ value: some Sequence<UInt8>) {
      changes.append(.write(node.path, [UInt8](value)))
    }
    directory(
      backend, [XenstorePermission(.none, domid: 0), XenstorePermission(.read, domid: domid)])
    write(self.owner, owner.word.utf8)
    if let claim {
      var text = PlainText()
      text.append(claim)
      write(self.claim, text.bytes)
    }
    write(backend("frontend"), frontend.path.bytes)
    write(backend("frontend-id"), Decimal.bytes(domid))
    write(backend("online"), "1".utf8)
    write(backend("mode"), (isReadOnly ? "r" : "w").utf8)
    write(backend("type"), "phy".utf8)
    write(backend("dev"), device.name)
    write(backend("params"), label)
    write(backend("physical-device"), physical.bytes)
    // No script is run, and none is waited for.
    write(backend("hotplug-status"), "connected".utf8)
    // A discard might punch holes into what has been reserved.
    write(backend("discard-enable"), "0".utf8)
    write(backendState, "1".utf8)
    directory(
      frontend, [XenstorePermission(.none, domid: domid), XenstorePermission(.read, domid: 0)])
    write(frontend("backend"), backend.path.bytes)
    write(frontend("backend-id"), "0".utf8)
    write(frontend("virtual-device"), Decimal.bytes(device.number))
    write(frontend("device-type"), "disk".utf8)
    write(frontend("state"), "1".utf8)
    return changes
  }

  /// What asks the other side to close: as libxl does (libxl_device.c). From then on the disk is nobody's
  /// who wants to keep it: if this command is killed, the next one ends what it has begun.
  var closing: [XenstoreChange] {
    [
      .write(owner.path, [UInt8](DiskOwner.command.word.utf8)),
      .write(backend("online").path, [UInt8(ascii: "0")]),
      .write(backendState.path, Decimal.bytes(XenbusState.closing)),
    ]
  }

  /// Both directories, and those above them that are empty then; as libxl does.
  func removing(
    _ xenstore: inout XenstoreConnection, in transaction: UInt32
  ) throws(XenstoreError) -> [XenstoreChange] {
    var changes: [XenstoreChange] = []
    let number = Decimal.bytes(device.number)
    let above = [
      (backend, [(Node.backends(domid), number), (Node.backends, Decimal.bytes(domid))]),
      (frontend, [(Node.domain(domid)("device")("vbd"), number)]),
    ]
    for (node, parents) in above {
      changes.append(.remove(node.path))
      for (parent, child) in parents {
        let names = try VbdNodes.names(below: parent, &xenstore, in: transaction)
        guard names.allSatisfy({ $0 == child }) else { break }
        changes.append(.remove(parent.path))
      }
    }
    return changes
  }

  /// None if there is no such node.
  static func names(
    below node: Node, _ xenstore: inout XenstoreConnection, in transaction: UInt32 = 0
  ) throws(XenstoreError) -> [[UInt8]] {
    do throws(XenstoreError) {
      return try xenstore.directory(node.path, in: transaction)
    } catch {
      if error == .notFound { return [] }
      throw error
    }
  }
}

/// Who takes a disk away again.
public enum DiskOwner: String, Sendable {
  /// The command that has attached it, before it ends; `gc` if it could not.
  case command = "transfer"
  /// The user, by `detach`.
  case user = "attached"

  var word: String { rawValue }

  init?(word: [UInt8]) {
    switch String(decoding: word, as: UTF8.self) {
    case DiskOwner.command.rawValue: self = .command
    case DiskOwner.user.rawValue: self = .user
    default: return nil
    }
  }
}

/// xen/include/public/io/xenbus.h.
enum XenbusState {
  static let connected: UInt32 = 4
  static let closing: UInt32 = 5
  static let closed: UInt32 = 6
}

extension PlainText {
  /// Hexadecimal digits without a prefix.
  fileprivate mutating func append(plainHex number: UInt32) {
    var text = PlainText()
    text.append(hex: UInt64(number))
    append(escaping: text.bytes.dropFirst(2))
  }
}
