import Rendezvous
import SaveDisk
import SystemIO
import Xen
import Xenstore

/// What commands have left that were killed, found by what says that it is ours: the node
/// `stubsave` in dom0's own back end directory, the rendezvous' directory, the files in /run.
enum Leftovers {
  private static let detachMilliseconds: UInt64 = 2_000

  /// Of one stubdomain, whose lock one has: nobody else is at work with it.
  ///
  /// - Returns: what has been cleared, a line each.
  static func clear(
    _ domid: UInt32, _ lock: borrowing DomainLock, _ socket: SystemPath
  ) throws(ToolError) -> [PlainText] {
    resume(lock) + (try disks(domid, socket))
  }

  /// A guest that a command had paused which was killed before it could let it go on.
  static func resume(_ lock: borrowing DomainLock) -> [PlainText] {
    var said: [PlainText] = []
    if let guest = lock.pausedGuest {
      var text = PlainText()
      text.append("a guest that a killed command had paused")
      do throws(XenError) {
        var hypervisor = try Hypervisor.open()
        try hypervisor.unpause(domid: guest)
        text.append(" goes on: ")
      } catch {
        text.append(" could not be let go on (")
        text.append(error)
        text.append("): ")
      }
      text.append(UInt64(guest))
      said.append(text)
      try? lock.note(paused: nil)
    }
    return said
  }

  private static func disks(_ domid: UInt32, _ socket: SystemPath) throws(ToolError) -> [PlainText]
  {
    var said: [PlainText] = []
    let place = SystemPath(word: "domain ", number: UInt64(domid))
    var xenstore = try XenstoreConnection.dom0(socket)
    let disks = try onXen(place) { () throws(XenError) in
      try AttachedDisk.all(of: domid, &xenstore)
    }
    if disks.isEmpty { return [] }
    let isThere = try onXen(place) { () throws(XenError) in
      try XenDomains.exists(domid, &xenstore)
    }
    // One that the user has attached stays as long as the domain does.
    for disk in disks where disk.owner == .command || !isThere {
      try onXen(place) { () throws(XenError) in
        var attachment = try DiskAttachment.existing(domid: domid, disk.device, socket)
        _ = try attachment.take(until: Deadline(timeoutMilliseconds: detachMilliseconds))
      }
      try DiskClaim.end(of: disk)
      said.append(words(disk))
    }
    return said
  }

  private static func words(_ disk: AttachedDisk) -> PlainText {
    var text = PlainText()
    text.append("a disk that a killed command had attached to domain ")
    text.append(UInt64(disk.domid))
    text.append(" as ")
    text.append(escaping: disk.device.name)
    text.append(" was taken away")
    return text
  }
}
