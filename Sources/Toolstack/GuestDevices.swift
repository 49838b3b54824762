import SaveDisk
import SystemIO
import Transfer
import Xen
import Xenstore

/// Block devices of dom0 that guests have.
enum GuestDevices {
  /// Refuses one that a domain has through blkback. That opens devices without O_EXCL
  /// (linux/drivers/block/xen-blkback/xenbus.c, xen_vbd_create): only xenstore tells of it.
  ///
  /// - Parameter socket: dom0's xenstored; where there is none there are no guests.
  static func refuse(
    _ device: borrowing FileDescriptor, _ path: SystemPath, _ socket: SystemPath
  ) throws(ToolError) {
    guard (try? FileStatus.of(socket)) != nil else { return }
    let majorMinor = try attempt(path) { () throws(SystemError) in try device.status().majorMinor }
    var xenstore = try XenstoreConnection.dom0(socket)
    let holder = try onXen(path) { () throws(XenError) in
      try AttachedDisk.holder(of: majorMinor, &xenstore)
    }
    guard let holder else { return }
    throw ToolError(.busy, path) {
      $0.append("domain ")
      $0.append(UInt64(holder))
      $0.append(" has it; `stubsave detach` or `xl block-detach` takes it away")
    }
  }
}
