import Rendezvous
import SaveDisk
import SystemIO
import Transfer
import Xen
import Xenstore

/// `attach` and `detach`: a disk that stays with a stubdomain until its user takes it away.
public enum Attaching {
  private static let connectMilliseconds: UInt64 = 20_000

  /// Attaches a save disk, of either direction, empty or not.
  ///
  /// - Parameters:
  ///   - place: its `attached` is not looked at.
  ///   - isReadOnly: in any case for a disk of the direction `restore`.
  /// - Returns: the disk's name in the stubdomain.
  public static func attach(
    _ path: SystemPath, to place: StubdomainPlace, isReadOnly: Bool
  ) throws(ToolError) -> [UInt8] {
    let signals = try attempt(path) { () throws(SystemError) in try EndingSignals() }
    var xenstore = try XenstoreConnection.dom0(place.xenstore)
    let stubdomain = try onXen(place.name) { () throws(XenError) in
      try XenDomains.stubdomain(place.reference, &xenstore)
    }
    _ = try DomainLock(domid: stubdomain.domid)
    let disk = try TransferDisk.existing(path, for: place)
    let request = DiskAttachment.Request(
      domid: stubdomain.domid, majorMinor: try disk.majorMinor(),
      isReadOnly: isReadOnly || disk.header.direction == .restore,
      label: [UInt8](path.bytes), owner: .user, ordinal: disk.ordinal)
    let device = try onXen(place.name) { () throws(XenError) in
      try DiskAttachment.attach(
        request, place.xenstore, until: Deadline(timeoutMilliseconds: connectMilliseconds),
        signals: signals.number
      ).device
    }
    disk.keepAttached()
    signals.settle()
    return device.name
  }

  /// Takes a disk away that `attach` or a killed command has left there.
  ///
  /// - Returns: whether the stubdomain had let go of it before.
  public static func detach(
    _ name: [UInt8], from place: StubdomainPlace, timeoutMilliseconds: UInt64
  ) throws(ToolError) -> Bool {
    guard let device = VirtualDevice(name: name) else {
      throw ToolError(.notFound, place.name) { $0.append("save disks have names xvdq to xvdz") }
    }
    var xenstore = try XenstoreConnection.dom0(place.xenstore)
    let domid = try domid(place, &xenstore)
    _ = try DomainLock(domid: domid)
    let disks = try onXen(place.name) { () throws(XenError) in
      try AttachedDisk.all(of: domid, &xenstore)
    }
    let ending = try onXen(place.name) { () throws(XenError) in
      var attachment = try DiskAttachment.existing(domid: domid, device, place.xenstore)
      return try attachment.take(until: Deadline(timeoutMilliseconds: timeoutMilliseconds))
    }
    if let majorMinor = disks.first(where: { $0.device == device })?.majorMinor {
      DiskClaim.end(majorMinor)
    }
    return ending == .closed
  }

  /// A domain that has ended still has its disks' nodes in dom0.
  private static func domid(
    _ place: StubdomainPlace, _ xenstore: inout XenstoreConnection
  ) throws(ToolError) -> UInt32 {
    if case .domid(let domid) = place.reference,
      (try? XenDomains.exists(domid, &xenstore)) == false
    {
      return domid
    }
    return try onXen(place.name) { () throws(XenError) in
      try XenDomains.stubdomain(place.reference, &xenstore).domid
    }
  }
}
