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

  /// That QEMU is not started so far. Where it is known to be an old one, nothing is changed; to an old one
  /// that is not known the nodes mean nothing.
  func prepareConsoles() throws(ToolError) {
    let qemu = ConsoleQEMU.started(by: Isolation.parentNumber)
    if case .oldCode = qemu { return }
    var xenstore = try XenstoreConnection.dom0(options.place.xenstore)
    let isStarted = try onXen(options.place.name) { () throws(XenError) in
      try ConsoleNodes.isQEMUStarted(options.stubdomain, &xenstore)
    }
    if isStarted { return }
    var isOurs = false
    if case .newCode = qemu { isOurs = takeLog() }
    let repairs = try onXen(options.place.name) { () throws(XenError) in
      try ConsoleNodes.repair(options.stubdomain, &xenstore)
    }
    if repairs.isEmpty && !isOurs { return }
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
    if isOurs { text.append(" 0, the log, is written by stubsave now;") }
    if repairs.connectsLog { text.append(" 0, the log, is connected now;") }
    log(text)
  }

  /// Has the log served by a process of ours; it is left to QEMU if that cannot be.
  private func takeLog() -> Bool {
    do throws(ToolError) {
      return try ConsoleProcess.start(
        ConsoleLogOptions(
          stubdomain: options.stubdomain, xenstore: options.place.xenstore,
          maxBytes: options.maxConsoleBytes))
    } catch {
      log(error.text)
      return false
    }
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
