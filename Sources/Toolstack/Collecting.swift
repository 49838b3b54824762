import Rendezvous
import SaveDisk
import SystemIO
import Transfer
import Xen
import Xenstore

/// `gc`: takes away what commands have left that were killed, and nothing that somebody is at work
/// with.
public enum Collecting {
  /// Another `gc` is waited for: what it is at must be gone when this one ends, too.
  private static let collectorMilliseconds: UInt64 = 5_000

  /// - Parameter waits: for another `gc` that is at work; else what it has is left to it.
  /// - Returns: a line for each thing.
  public static func run(_ socket: SystemPath, waits: Bool) throws(ToolError) -> [PlainText] {
    try RuntimeDirectory.make()
    let deadline = Deadline(timeoutMilliseconds: waits ? collectorMilliseconds : 0)
    var xenstore = try XenstoreConnection.dom0(socket)
    var said: [PlainText] = []
    for domid in try candidates(&xenstore) {
      guard let lock = try DomainLock.toCollect(domid: domid, until: deadline) else { continue }
      said += try Leftovers.clear(domid, lock, socket)
      // That may have taken its time.
      xenstore.deadline = Deadline(timeoutMilliseconds: XenstoreRequests.timeoutMilliseconds)
      said += try rendezvous(domid, &xenstore)
      lock.end()
    }
    xenstore.deadline = Deadline(timeoutMilliseconds: XenstoreRequests.timeoutMilliseconds)
    return said + (try claims(&xenstore)) + (try proxies(&xenstore))
  }

  /// What proxies have left that were killed, whose stubdomains are no more. That of one that lives is for
  /// the next proxy.
  private static func proxies(
    _ xenstore: inout XenstoreConnection
  ) throws(ToolError) -> [PlainText] {
    var said: [PlainText] = []
    let marks = [ProxyMark.prefix, ProxyMark.turnPrefix].flatMap { prefix in
      RuntimeDirectory.entries(prefix).compactMap { UInt32($0) }.map { (prefix, $0) }
    }
    for (prefix, domid) in marks {
      let isThere = try onXen(SystemPath(word: "xenstore")) { () throws(XenError) in
        try XenDomains.exists(domid, &xenstore)
      }
      guard !isThere, try ProxyMark.removeLeft(domid, prefix) else { continue }
      var text = PlainText()
      text.append("domain ")
      text.append(UInt64(domid))
      text.append(": the mark of a proxy that was killed was taken away")
      said.append(text)
    }
    return said
  }

  /// Every domain of which something tells that we have been there.
  private static func candidates(
    _ xenstore: inout XenstoreConnection
  ) throws(ToolError) -> [UInt32] {
    let place = SystemPath(word: "xenstore")
    var domids: Set<UInt32> = []
    let disks = try onXen(place) { () throws(XenError) in try AttachedDisk.all(&xenstore) }
    domids.formUnion(disks.map(\.domid))
    domids.formUnion(
      try onXen(place) { () throws(XenError) in try XenDomains.withRendezvous(&xenstore) })
    domids.formUnion(RuntimeDirectory.entries(DomainLock.prefix).compactMap { UInt32($0) })
    return domids.sorted()
  }

  private static func rendezvous(
    _ domid: UInt32, _ xenstore: inout XenstoreConnection
  ) throws(ToolError) -> [PlainText] {
    let place = SystemPath(word: "domain ", number: UInt64(domid))
    let isThere = try onXen(place) { () throws(XenError) in
      try XenDomains.hasRendezvous(domid, &xenstore)
    }
    guard isThere else { return [] }
    try onXen(place) { () throws(XenError) in
      try XenDomains.removeRendezvous(domid, &xenstore)
    }
    var text = PlainText()
    text.append("domain ")
    text.append(UInt64(domid))
    text.append(": an offer without an owner is withdrawn")
    return [text]
  }

  /// Those that no disk of a stubdomain's needs.
  private static func claims(
    _ xenstore: inout XenstoreConnection
  ) throws(ToolError) -> [PlainText] {
    let ended = try DiskClaim.endOrphans { () throws(ToolError) in
      try onXen(SystemPath(word: "xenstore")) { () throws(XenError) in
        try AttachedDisk.all(&xenstore)
      }
    }
    return ended.map { name in
      var text = PlainText()
      text.append("block device ")
      text.append(escaping: name.utf8)
      text.append(" is no save disk any more")
      return text
    }
  }
}
