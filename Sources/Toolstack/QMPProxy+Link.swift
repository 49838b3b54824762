import QEMUMonitor
import SaveDisk
import SystemIO
import Transfer

/// The one connection to QEMU.
extension QMPProxy {
  /// For libxl's own proxy to listen, after it was started again.
  private static let listenMilliseconds: UInt64 = 500

  /// Somebody waits for QEMU.
  var isQEMUWanted: Bool {
    clients.contains { !$0.isGreeted || $0.waiting != nil } || isResumeDue
  }

  /// Here the transport is chosen, anew for each connection: an agent may have come since.
  mutating func connect() {
    if let own = QMPTransport.ownVchan(options, tell: log) { return link.connect(own) }
    do throws(SystemError) {
      let deadline = Deadline(timeoutMilliseconds: QMPProxy.listenMilliseconds)
      link.connect(.program(try program.connect(until: deadline)))
    } catch {
      log(ToolError(error, program.socket).text)
      link.noteFailure()
    }
  }

  mutating func heedLink() {
    do throws(MonitorError) {
      try link.flush()
    } catch {
      return loseQEMU(error)
    }
    if link.isMute && isQEMUWanted { loseQEMU(.deadline("its greeting")) }
  }

  mutating func sendToQEMU(_ line: [UInt8]) {
    do throws(MonitorError) {
      try link.send(line)
    } catch {
      loseQEMU(error)
    }
  }

  /// QEMU's side has ended, or it does what cannot be borne. Clients stay: what they have said that QEMU has not
  /// answered is an error, and what it has not heard waits for the next connection.
  mutating func loseQEMU(_ error: MonitorError?) {
    if !link.isConnected { return }
    var text = PlainText()
    text.append(
      link.isReady
        ? "the connection to the stubdomain's QEMU was lost"
        : "the stubdomain's QEMU was lost before it greeted")
    if let error {
      text.append(": ")
      text.append(error)
    }
    log(text)
    tellDroppedLines()
    guestStop.loseQEMU(at: link.relay.stop)
    isResuming = false
    if let now = held.take(), let client = client(now.client) {
      client.waiting = ProxyClient.Waiting(command: now.command, arrival: now.arrival)
    }
    var words = PlainText()
    words.append("stubsave: ")
    words.append(text)
    words.append("; it is not known whether QEMU has done this")
    for reply in link.lose(words) { deliver(reply) }
    noteGuestStop()
  }

  private func tellDroppedLines() {
    if link.droppedLines <= QMPProxy.maxToldLines { return }
    var text = PlainText()
    text.append("lines of the stubdomain's QEMU that were dropped in this connection: ")
    text.append(link.droppedLines)
    log(text)
  }

  mutating func startAgain() throws(ToolError) {
    loseQEMU(nil)
    try program.startAgain(options)
    mark.note(program, options.program)
    log(program.words)
  }
}
