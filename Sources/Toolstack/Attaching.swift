import Rendezvous
import SaveDisk
import SystemIO
import Transfer
import Xen
import Xenstore

/// `attach` and `detach`: a disk that stays with a stubdomain until its user takes it away.
///
/// Both hold the domain's lock until they are done, and let a guest go on that stands because a
/// command was killed: what says so goes with the lock.
public enum Attaching {
  private static let connectMilliseconds: UInt64 = 20_000

  public struct Attached: Sendable {
    /// The disk's name in the stubdomain.
    public let name: [UInt8]
    public let warnings: [PlainText]
  }

  public struct Detached: Sendable {
    /// The stubdomain had let go of it before.
    public let isClosed: Bool
    public let warnings: [PlainText]
  }

  /// Attaches a save disk, of either direction, empty or not.
  ///
  /// - Parameters:
  ///   - place: its `attached` is not looked at.
  ///   - isReadOnly: in any case for a disk of the direction `restore`.
  public static func attach(
    _ path: SystemPath, to place: StubdomainPlace, isReadOnly: Bool
  ) throws(ToolError) -> Attached {
    let signals = try attempt(path) { () throws(SystemError) in try EndingSignals() }
    var xenstore = try XenstoreConnection.dom0(place.xenstore)
    let stubdomain = try onXen(place.name) { () throws(XenError) in
      try XenDomains.stubdomain(place.reference, &xenstore)
    }
    let lock = try DomainLock(domid: stubdomain.domid)
    let said = try Leftovers.clear(stubdomain.domid, lock, place.xenstore)
    try StubdomainState.requireRunning(
      StubdomainState.look(stubdomain.domid), stubdomain.domid, place.name, mayBePaused: false)
    let disk = try TransferDisk.existing(path, for: place)
    let request = DiskAttachment.Request(
      domid: stubdomain.domid, majorMinor: try disk.majorMinor(),
      isReadOnly: isReadOnly || disk.header.direction == .restore,
      label: [UInt8](path.bytes), owner: .user, claim: disk.claimID, ordinal: disk.ordinal)
    let device = try onXen(place.name) { () throws(XenError) in
      try DiskAttachment.attach(
        request, place.xenstore, until: Deadline(timeoutMilliseconds: connectMilliseconds),
        signals: signals.number
      ).device
    }
    disk.keepAttached()
    lock.end()
    signals.settle()
    return Attached(name: device.name, warnings: said)
  }

  /// Takes a disk away that `attach` or a killed command has left there.
  ///
  /// A block device keeps what the stubdomain has written: it is the user's, who may want to read it.
  public static func detach(
    _ name: [UInt8], from place: StubdomainPlace, timeoutMilliseconds: UInt64
  ) throws(ToolError) -> Detached {
    guard let device = VirtualDevice(name: name) else {
      throw ToolError(.notFound, place.name) { $0.append("save disks have names xvdq to xvdz") }
    }
    var xenstore = try XenstoreConnection.dom0(place.xenstore)
    let domid = try domid(place, &xenstore)
    let lock = try DomainLock(domid: domid)
    // Not the disks: what a killed command has left may be the one that is to be taken away.
    var said = Leftovers.resume(lock)
    let disks = try onXen(place.name) { () throws(XenError) in
      try AttachedDisk.all(of: domid, &xenstore)
    }
    let ending = try onXen(place.name) { () throws(XenError) in
      var attachment = try DiskAttachment.existing(domid: domid, device, place.xenstore)
      return try attachment.take(until: Deadline(timeoutMilliseconds: timeoutMilliseconds))
    }
    if let disk = disks.first(where: { $0.device == device }) {
      said += warnings(afterTaking: disk)
    }
    lock.end()
    return Detached(isClosed: ending == .closed, warnings: said)
  }

  /// The disk is gone already: what cannot be done now is no failure, and `gc` does it.
  private static func warnings(afterTaking disk: AttachedDisk) -> [PlainText] {
    do throws(ToolError) {
      try DiskClaim.end(of: disk)
      return []
    } catch {
      var text = PlainText()
      text.append("the mark of its block device is left to `stubsave gc`: ")
      text.append(error.text)
      return [text]
    }
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
