import SaveDisk
import SystemIO
import Xenstore

/// A save disk that a domain has, as dom0's own back end directory tells.
public struct AttachedDisk: Sendable {
  public let domid: UInt32
  public let device: VirtualDevice
  public let owner: DiskOwner
  /// Of dom0's block device.
  public let majorMinor: (major: UInt32, minor: UInt32)?

  /// Of one domain, which may have ended.
  public static func all(
    of domid: UInt32, _ xenstore: inout XenstoreConnection
  ) throws(XenError) -> [AttachedDisk] {
    let names = try onXenstore { () throws(XenstoreError) in
      try VbdNodes.names(below: Node.backends(domid), &xenstore)
    }
    var found: [AttachedDisk] = []
    for number in names.compactMap(Decimal.number) {
      guard let device = VirtualDevice(number: number) else { continue }
      let nodes = VbdNodes(domid: domid, device: device)
      guard let word = try XenDomains.value(&xenstore, nodes.owner),
        let owner = DiskOwner(word: word)
      else { continue }
      let physical = try XenDomains.value(&xenstore, nodes.backend("physical-device"))
      found.append(
        AttachedDisk(
          domid: domid, device: device, owner: owner, majorMinor: physical.flatMap(majorMinor)))
    }
    return found
  }

  /// Of all domains, also of those that have ended.
  public static func all(_ xenstore: inout XenstoreConnection) throws(XenError) -> [AttachedDisk] {
    let names = try onXenstore { () throws(XenstoreError) in
      try VbdNodes.names(below: Node.backends, &xenstore)
    }
    var found: [AttachedDisk] = []
    for domid in names.compactMap(Decimal.number).sorted() {
      found += try all(of: domid, &xenstore)
    }
    return found
  }

  /// "7:1f", in hexadecimal.
  private static func majorMinor(_ bytes: [UInt8]) -> (major: UInt32, minor: UInt32)? {
    let words = bytes.split(separator: UInt8(ascii: ":"))
    guard words.count == 2,
      let major = UInt32(String(decoding: words[0], as: UTF8.self), radix: 16),
      let minor = UInt32(String(decoding: words[1], as: UTF8.self), radix: 16)
    else { return nil }
    return (major, minor)
  }
}
