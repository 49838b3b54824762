import SaveDisk
import SystemIO
import Xenstore

extension XenDomains {
  /// What the agent says of itself, for people: the stubdomain's own word, at most 255 bytes; nil if
  /// it says nothing.
  public static func agentHint(
    _ domid: UInt32, _ xenstore: inout XenstoreConnection
  ) throws(XenError) -> [UInt8]? {
    try value(&xenstore, Node.domain(domid)("data")("stubsave")).map { [UInt8]($0.prefix(255)) }
  }

  /// Whether the agent serves the channel for QMP, and one client may stay there (formats/rendezvous.md, section
  /// 7.4): the stubdomain's own word.
  public static func hasPersistentChannel(
    _ domid: UInt32, _ xenstore: inout XenstoreConnection
  ) throws(XenError) -> Bool {
    try value(&xenstore, Node.domain(domid)("data")("stubsave-channel"))
      == [UInt8]("persistent 1".utf8)
  }

  /// The process that stands between libxl and the stubdomain's QMP; libxl writes it.
  public static func proxyProcess(
    _ domid: UInt32, _ xenstore: inout XenstoreConnection
  ) throws(XenError) -> UInt32? {
    try number(&xenstore, Node.domain(domid)("image")("qmp-proxy-pid"))
  }

  /// By which libxl ends it, with its stubdomain (SIGHUP).
  public static func note(
    proxyProcess process: UInt32, of domid: UInt32, _ xenstore: inout XenstoreConnection
  ) throws(XenError) {
    try onXenstore { () throws(XenstoreError) in
      try xenstore.write(
        Node.domain(domid)("image")("qmp-proxy-pid").path, Decimal.bytes(process))
    }
  }

  /// Whether a QEMU in dom0 serves disks of the domain from files.
  public static func hasDiskImages(
    _ domid: UInt32, _ xenstore: inout XenstoreConnection
  ) throws(XenError) -> Bool {
    try value(&xenstore, Node("/local/domain/0/backend/qdisk")(domid)) != nil
  }

  /// Whether the guest's QEMU has said that it runs: the stubdomain's own word, which it cannot say
  /// before it is started.
  public static func isDeviceModelRunning(
    _ domid: UInt32, for target: UInt32, _ xenstore: inout XenstoreConnection
  ) throws(XenError) -> Bool {
    try value(&xenstore, Node.domain(domid)("device-model")(target)("state"))
      == [UInt8]("running".utf8)
  }

  /// The domains with a rendezvous' directory.
  public static func withRendezvous(
    _ xenstore: inout XenstoreConnection
  ) throws(XenError) -> [UInt32] {
    var found: [UInt32] = []
    for domid in try all(&xenstore) where domid != 0 {
      if try hasRendezvous(domid, &xenstore) { found.append(domid) }
    }
    return found
  }

  public static func hasRendezvous(
    _ domid: UInt32, _ xenstore: inout XenstoreConnection
  ) throws(XenError) -> Bool {
    try value(&xenstore, Node.domain(domid)("stubsave")) != nil
  }

  /// Takes it away, with whatever is in it.
  public static func removeRendezvous(
    _ domid: UInt32, _ xenstore: inout XenstoreConnection
  ) throws(XenError) {
    try onXenstore { () throws(XenstoreError) in
      try xenstore.change { _, _ throws(XenstoreError) in
        [.remove(Node.domain(domid)("stubsave").path)]
      }
    }
  }
}
