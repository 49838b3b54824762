import SaveDisk
import SystemIO
import Vchan
import Xen
import Xenstore

extension QMPTransport {
  /// The vchan itself, if the stubdomain's agent serves it. Does not wait for it: an agent that is not there yet says
  /// nothing either, and libxl's own program waits.
  ///
  /// - Parameter tell: of a channel that is said to be there and cannot be used.
  /// - Returns: nil where libxl's own program is to be used.
  static func ownVchan(
    _ options: QMPProxyOptions, tell: (PlainText) -> Void
  ) -> QMPTransport? {
    guard var xenstore = try? XenstoreConnection.dom0(options.place.xenstore),
      (try? XenDomains.hasPersistentChannel(options.stubdomain, &xenstore)) == true
    else { return nil }
    do throws(VchanError) {
      return .vchan(
        try VchanClient.open(
          to: options.stubdomain, at: QMPChannel.node(of: options.target, options.stubdomain)))
    } catch {
      var text = PlainText()
      text.append("the agent's channel for QMP cannot be used (")
      text.append(escaping: SystemError(.open, error).text)
      text.append("): libxl's own program is")
      tell(text)
      return nil
    }
  }
}
