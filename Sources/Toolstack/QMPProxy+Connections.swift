import QEMUMonitor
import SaveDisk
import SystemIO
import Transfer

/// libxl's connections, and for each one to QEMU.
extension QMPProxy {
  static let maxToldLines: UInt64 = 8
  /// For libxl's own proxy to listen, after it was started again.
  private static let listenMilliseconds: UInt64 = 2_000
  /// QEMU greets as soon as somebody connects. vchan-socket-proxy loses a client that follows another before its
  /// other end, in the stubdomain, has seen the first one go: both then wait for ever, and libxl with them, the
  /// guest stopped. Doubled each time; the first one leaves time of libxl's 10 s.
  private static let firstGreetingMilliseconds: UInt64 = 3_000
  /// Before each connection, for that other end: nothing tells when it is ready. On one processor a client that comes
  /// at once is lost again and again.
  private static let pauseMilliseconds: Int32 = 100
  /// After a connection that ended at once; doubled each time, too, up to the last: then QEMU is there no more.
  private static let firstAgainMilliseconds: UInt64 = 50
  private static let lastAgainMilliseconds: UInt64 = 800

  /// libxl connects anew for each thing that it wants.
  mutating func accept() {
    do throws(SystemError) {
      let socket = try listener.accept()
      server = try connect()
      client = LineConnection(socket)
      relay = try QMPRelay()
      greetingMilliseconds = QMPProxy.firstGreetingMilliseconds
      againMilliseconds = QMPProxy.firstAgainMilliseconds
      greetingDeadline = Deadline(timeoutMilliseconds: greetingMilliseconds)
    } catch {
      if error.errno == Errno.wouldBlock { return }
      server = nil
      log(ToolError(error, program.socket).text)
    }
  }

  private func connect() throws(SystemError) -> LineConnection<QMPTransport> {
    if let own = QMPTransport.ownVchan(options, tell: log) { return LineConnection(own) }
    try MonotonicClock.pause(milliseconds: QMPProxy.pauseMilliseconds)
    let deadline = Deadline(timeoutMilliseconds: QMPProxy.listenMilliseconds)
    return LineConnection(.program(try program.connect(until: deadline)))
  }

  /// QEMU's side has ended, or libxl's own proxy has. A client that has heard nothing so far has nothing to lose:
  /// another connection is tried for it.
  ///
  /// vchan-socket-proxy closes a client at once if it finds the channel of the one before, whose other end comes to
  /// its end just then. libxl asks only once, be it for a guest that it has stopped to go on; and `xl save -c` says
  /// nothing of it.
  mutating func loseServer(_ error: MonitorError?) {
    guard
      hasClient && !relay.isGreeted && relay.isIdle
        && againMilliseconds <= QMPProxy.lastAgainMilliseconds
    else { return drop(error) }
    server = nil
    greetingDeadline = Deadline(timeoutMilliseconds: againMilliseconds)
    againMilliseconds *= 2
  }

  /// The client has heard nothing so far, and has nothing to lose.
  mutating func connectAgain() throws(MonitorError) {
    greetingDeadline = nil
    var text = PlainText()
    text.append("the stubdomain's QEMU ")
    if !hasServer {
      // It has spoken meanwhile, to nobody.
      if !relay.isIdle { return drop(nil) }
      text.append("was lost before it greeted")
    } else {
      if relay.isGreeted || !relay.isIdle { return }
      text.append("has not greeted within ")
      text.append(greetingMilliseconds)
      text.append(" ms")
      greetingMilliseconds *= 2
    }
    text.append("; connected again")
    server = nil
    do throws(SystemError) {
      server = try connect()
    } catch {
      throw .system(error)
    }
    log(text)
    greetingDeadline = Deadline(timeoutMilliseconds: greetingMilliseconds)
  }

  /// Both sides go together; the disk stays for the next client.
  mutating func drop(_ error: MonitorError?) {
    if let error {
      var text = PlainText()
      text.append("a connection ends: ")
      text.append(error)
      log(text)
    }
    if droppedLines > QMPProxy.maxToldLines {
      var text = PlainText()
      text.append("lines of the stubdomain's QEMU that were dropped in this connection: ")
      text.append(droppedLines)
      log(text)
    }
    droppedLines = 0
    if saveDeadline != nil && error == nil {
      var text = PlainText()
      text.append("the connection has ended in the middle of a save")
      log(text)
    }
    client = nil
    server = nil
    held = nil
    saveDeadline = nil
    greetingDeadline = nil
  }
}
