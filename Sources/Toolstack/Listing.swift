import Foundation
import Rendezvous
import SaveDisk
import SystemIO
import Transfer
import Xen
import Xenstore

/// What `list` tells of a stubdomain. Text is printable.
public struct StubdomainSummary: Sendable {
  public let domid: UInt32
  public let name: PlainText
  public let target: UInt32
  public let targetName: PlainText
  /// The agent's own word; empty if it has said nothing.
  public let agent: PlainText
  /// A command is at work with it now.
  public let isBusy: Bool
  /// A killed command has left an offer there.
  public let hasOrphanedOffer: Bool
  public let disks: [Disk]
  /// The program between libxl and its QMP; empty if there is none.
  public let proxy: PlainText
  /// Nil where Xen cannot be asked.
  public let state: DomainState?
  /// There was one, and it was killed.
  public let isProxyLost: Bool

  public struct Disk: Sendable {
    public let name: PlainText
    /// By `attach`, and not by a command that takes it away itself.
    public let isUsers: Bool
  }
}

public enum Listing {
  /// All stubdomains.
  public static func run(_ socket: SystemPath) throws(ToolError) -> [StubdomainSummary] {
    var xenstore = try XenstoreConnection.dom0(socket)
    let place = SystemPath(word: "xenstore")
    let stubdomains = try onXen(place) { () throws(XenError) in
      try XenDomains.stubdomains(&xenstore)
    }
    var found: [StubdomainSummary] = []
    for stubdomain in stubdomains {
      found.append(
        try onXen(place) { () throws(XenError) in try summary(stubdomain, &xenstore) })
    }
    return found
  }

  static func summary(
    _ stubdomain: Stubdomain, _ xenstore: inout XenstoreConnection
  ) throws(XenError) -> StubdomainSummary {
    let domid = stubdomain.domid
    let isBusy = DomainLock.isHeld(domid: domid)
    let hasOffer = try XenDomains.hasRendezvous(domid, &xenstore)
    let disks = try AttachedDisk.all(of: domid, &xenstore)
    let process = try XenDomains.proxyProcess(domid, &xenstore)
    let proxy = ProxyMark.isOwned(domid) ? ownProxy : proxy(process)
    return StubdomainSummary(
      domid: domid, name: plain(try XenDomains.name(of: domid, &xenstore)),
      target: stubdomain.target,
      targetName: plain(try XenDomains.name(of: stubdomain.target, &xenstore)),
      agent: plain(try XenDomains.agentHint(domid, &xenstore)), isBusy: isBusy,
      hasOrphanedOffer: hasOffer && !isBusy,
      disks: disks.map {
        StubdomainSummary.Disk(name: plain($0.device.name), isUsers: $0.owner == .user)
      },
      proxy: proxy,
      state: StubdomainState.look(domid),
      isProxyLost: proxy.bytes.isEmpty && (process != nil || ProxyMark.isLeft(domid)))
  }

  private static func plain(_ bytes: [UInt8]?) -> PlainText {
    var text = PlainText()
    text.append(escaping: bytes ?? [], maxBytes: 64)
    return text
  }

  private static var ownProxy: PlainText { plain([UInt8](HookProgram.processNames[0].utf8)) }

  /// A process' own name for itself, at most 15 bytes (proc(5)). That of a proxy that was killed may be
  /// another's by now.
  private static func proxy(_ process: UInt32?) -> PlainText {
    guard let process, let comm = FileManager.default.contents(atPath: "/proc/\(process)/comm")
    else {
      return PlainText()
    }
    let name = String(decoding: comm.prefix { $0 != 10 }, as: UTF8.self)
    // The second is libxl's own, cut by the kernel.
    guard HookProgram.processNames.contains(name) || "vchan-socket-proxy".hasPrefix(name) else {
      return PlainText()
    }
    return plain([UInt8](name.utf8))
  }
}
