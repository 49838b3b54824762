import Rendezvous
import SaveDisk
import SystemIO
import Transfer
import Xen
import Xenstore

/// A restore that libxl orders: the state that it has put into a file, into a stubdomain that is
/// going to be started.
enum RestoreSession {
  /// What is known of it before the stubdomain runs.
  struct Given: ~Copyable {
    fileprivate let state: GivenState
    fileprivate var prepared: PreparedRestore
  }

  /// The state that the stubdomain's QEMU waits for, judged; nil if it waits for none. A file that
  /// lies about from another time is not looked at.
  static func given(_ options: QMPProxyOptions) throws(ToolError) -> Given? {
    var xenstore = try XenstoreConnection.dom0(options.place.xenstore)
    let isWanted = try onXen(options.place.name) { () throws(XenError) in
      guard try XenDomains.awaitsState(guest: options.target, &xenstore) else { return false }
      // It runs already if this proxy is one that was started anew.
      return try !XenDomains.isDeviceModelRunning(
        options.stubdomain, for: options.target, &xenstore)
    }
    if !isWanted { return nil }
    let state = try GivenState.open(options.restore)
    let prepared = try PreparedRestore.make(options.restore, state, at: options.place)
    return Given(state: state, prepared: prepared)
  }

  /// To be called when the stubdomain may start. What happens is told; libxl sees whether QEMU runs.
  static func run(
    _ given: consuming Given, _ options: QMPProxyOptions, _ signals: Int32,
    _ log: (PlainText) -> Void
  ) {
    let state = given.state
    func tell(_ warnings: [PlainText]) {
      for warning in warnings {
        log(ToolError(.good, options.restore.input) { $0.append(warning) }.text)
      }
    }
    // Before QEMU gets a byte.
    tell(state.warnings + given.prepared.warnings)
    do throws(ToolError) {
      let report = try given.prepared.run(options.restore, state, signals)
      var text = PlainText()
      text.append(stateBytes: report.stateBytes, digest: report.digest)
      text.append(", went from ")
      text.append(escaping: options.restore.input.bytes)
      text.append(" to the stubdomain's QEMU")
      log(text)
      tell(report.warnings)
    } catch {
      log(error.text)
    }
  }
}
