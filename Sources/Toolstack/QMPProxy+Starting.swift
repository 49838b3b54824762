import SaveDisk
import SystemIO
import Transfer
import Xen
import Xenstore

/// What libxl relies on once the proxy runs: it then starts the QEMU of the stubdomain's consoles in dom0,
/// and after that the stubdomain.
extension QMPProxy {
  /// For libxl's own proxy; libxl itself waits a minute for this one.
  private static let listenMilliseconds: UInt64 = 30_000

  /// That QEMU is not started so far. Whichever libxl starts, be it an old one: the nodes mean nothing
  /// to that; but where it is known, nothing is changed.
  func prepareConsoles() throws(ToolError) {
    let qemu = ConsoleQEMU.started(by: Isolation.parentNumber)
    if case .oldCode = qemu { return }
    var xenstore = try XenstoreConnection.dom0(options.place.xenstore)
    let repairs = try onXen(options.place.name) { () throws(XenError) in
      try ConsoleNodes.repair(options.stubdomain, &xenstore)
    }
    if repairs.isEmpty { return }
    var text = PlainText()
    text.append("consoles: ")
    if case .newCode(let path) = qemu {
      text.append(escaping: path.bytes)
      text.append(" would not serve them:")
    } else {
      text.append("libxl's QEMU was not found, a newer one would not serve them:")
    }
    for number in repairs.withoutOutput {
      text.append(" the output of ")
      text.append(UInt64(number))
      text.append(" is null now;")
    }
    if repairs.connectsLog { text.append(" 0, the log, is connected now;") }
    log(text)
  }

  /// Tells libxl that the proxy runs.
  func announce() throws(ToolError) {
    let listens = try attempt(program.socket) { () throws(SystemError) in
      try program.listens(until: Deadline(timeoutMilliseconds: QMPProxy.listenMilliseconds))
    }
    if !listens {
      throw ToolError(.deadline, options.program) { $0.append("does not listen") }
    }
    guard let path = options.statePath else { return }
    var text = PlainText()
    text.append("running")
    try onXen(options.place.name) { () throws(XenError) in
      try DomainWatch.say(text, at: path, options.place.xenstore)
    }
  }
}
