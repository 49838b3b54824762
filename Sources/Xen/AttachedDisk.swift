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
  /// Names the claim on that device that has been made for this disk.
  public let claim: UInt64?

  public init(
    domid: UInt32, device: VirtualDevice, owner: DiskOwner,
    majorMinor: (major: UInt32, minor: UInt32)?, claim: UInt64?
  ) {
    self.domid = domid
    self.device = device
    self.owner = owner
    self.majorMinor = majorMinor
    self.claim = claim
  }

  /// Of one domain, which may have ended.
  public static func all(
    of domid: UInt32, _ xenstore: inout XenstoreConnection
  ) throws(XenError) -> [AttachedDisk] {
    var found: [AttachedDisk] = []
    for number in try numbers(below: Node.backends(domid), &xenstore) {
      guard let device = VirtualDevice(number: number) else { continue }
      let nodes = VbdNodes(domid: domid, device: device)
      guard let word = try XenDomains.value(&xenstore, nodes.owner),
        let owner = DiskOwner(word: word)
      else { continue }
      let physical = try XenDomains.value(&xenstore, nodes.backend("physical-device"))
      let claim = try XenDomains.value(&xenstore, nodes.claim)
      found.append(
        AttachedDisk(
          domid: domid, device: device, owner: owner, majorMinor: physical.flatMap(majorMinor),
          claim: claim.flatMap { UInt64(String(decoding: $0, as: UTF8.self)) }))
    }
    return found
  }

  /// Of all domains, also of those that have ended.
  public static func all(_ xenstore: inout XenstoreConnection) throws(XenError) -> [AttachedDisk] {
    var found: [AttachedDisk] = []
    for domid in try numbers(below: Node.backends, &xenstore).sorted() {
      found += try all(of: domid, &xenstore)
    }
    return found
  }

  /// The domain that has a block device of dom0's, whoever has attached it; nil if none has that
  /// lives.
  public static func holder(
    of device: (major: UInt32, minor: UInt32), _ xenstore: inout XenstoreConnection
  ) throws(XenError) -> UInt32? {
    for domid in try numbers(below: Node.backends, &xenstore) {
      let disks = Node.backends(domid)
      for number in try numbers(below: disks, &xenstore) {
        let physical = try XenDomains.value(&xenstore, disks(number)("physical-device"))
        guard let physical, let found = majorMinor(physical), found == device else { continue }
        if try XenDomains.exists(domid, &xenstore) { return domid }
      }
    }
    return nil
  }

  private static func numbers(
    below node: Node, _ xenstore: inout XenstoreConnection
  ) throws(XenError) -> [UInt32] {
    try onXenstore { () throws(XenstoreError) in try VbdNodes.names(below: node, &xenstore) }
      .compactMap(Decimal.number)
  }

  /// "7:1f", in hexadecimal, by whatever tool: of either case, with leading zeros or without.
  static func majorMinor(_ bytes: [UInt8]) -> (major: UInt32, minor: UInt32)? {
    let words = bytes.split(separator: UInt8(ascii: ":"), omittingEmptySubsequences: false)
    guard words.count == 2, let major = hexadecimal(words[0]), let minor = hexadecimal(words[1])
    else { return nil }
    return (major, minor)
  }

  /// 1 to 8 digits and nothing else; nil for anything more.
  private static func hexadecimal(_ digits: ArraySlice<UInt8>) -> UInt32? {
    guard !digits.isEmpty && digits.count <= 8 else { return nil }
    var value: UInt32 = 0
    for digit in digits {
      switch digit {
      case UInt8(ascii: "0")...UInt8(ascii: "9"): value = value << 4 | UInt32(digit - 0x30)
      case UInt8(ascii: "a")...UInt8(ascii: "f"): value = value << 4 | UInt32(digit - 0x57)
      case UInt8(ascii: "A")...UInt8(ascii: "F"): value = value << 4 | UInt32(digit - 0x37)
      default: return nil
      }
    }
    return value
  }
}
