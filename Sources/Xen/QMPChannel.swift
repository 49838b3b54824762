import SystemIO

/// The channel between libxl and the QMP of a stubdomain's QEMU.
public enum QMPChannel {
  /// The guest whose QEMU it is; nil if it is another channel, such as VNC's.
  ///
  /// - Parameters:
  ///   - channel: `/local/domain/S/device-model/T/qmp-vchan` (libxl_dm.c, spawn_qmp_proxy).
  ///   - stubdomain: S.
  public static func target(of channel: SystemPath, _ stubdomain: UInt32) -> UInt32? {
    let words = channel.bytes.split(separator: UInt8(ascii: "/"), omittingEmptySubsequences: false)
    guard words.count == 7, let target = Decimal.number([UInt8](words[5])),
      Node.domain(stubdomain)("device-model")(target)("qmp-vchan").path.bytes == channel.bytes
    else { return nil }
    return target
  }

  /// The channel's node, as libxl names it.
  public static func node(of target: UInt32, _ stubdomain: UInt32) -> SystemPath {
    Node.domain(stubdomain)("device-model")(target)("qmp-vchan").path
  }

  /// Where libxl connects to: its run directory is Xen's (libxl__qemu_qmp_path), on Linux /run, whichever Xen.
  public static func socket(of target: UInt32) -> SystemPath {
    SystemPath(word: "/run/xen/qmp-libxl-", number: UInt64(target))
  }

  /// Where a proxy says that it runs (libxl_dm.c, spawn_qmp_proxy).
  public static func stateNode(_ stubdomain: UInt32) -> SystemPath {
    Node("/local/domain/0/device-model")(stubdomain)("qmp-proxy-state").path
  }
}
