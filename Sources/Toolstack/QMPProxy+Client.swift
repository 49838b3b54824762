import QEMUMonitor
import SaveDisk
import SystemIO
import Transfer
import Xen
import Xenstore

/// From libxl to QEMU.
extension QMPProxy {
  /// A disk that has been attached for a save is taken back after so much silence: libxl has been
  /// killed. A save that comes all the same attaches another one.
  private static let silenceMilliseconds: UInt64 = 15 * 60_000

  /// One after the other: while a command is held, those behind it wait, and those of others.
  mutating func takeLines(of client: ProxyClient) {
    do throws(MonitorError) {
      while mayTake(from: client), let line = try client.connection.next() {
        guard let command = QMPRelay.command(line) else {
          var text = PlainText()
          text.append("stubsave: this is no QMP command")
          try client.send(QMPRelay.error(nil, text))
          continue
        }
        if let answer = client.negotiation.answer(command) {
          try client.send(answer)
        } else {
          take(command, of: client, ProxyClient.Arrival())
        }
      }
    } catch {
      drop(client, error)
    }
  }

  /// - Parameter deadline: for what has to be there before QEMU hears of it.
  mutating func pass(
    _ command: QMPRelay.Command, of client: ProxyClient, until deadline: Deadline
  ) {
    do throws(ToolError) {
      try prepare(for: command, until: deadline)
    } catch {
      return answer(refusal(of: command, error), to: client)
    }
    guard let line = link.relay.pass(command, of: client.id) else {
      answer(refusal(of: command, tooMany), to: client)
      return loseQEMU(.notQMP("too many commands without a reply"))
    }
    if command.kind == .save {
      saveDeadline = Deadline(
        timeoutMilliseconds: options.dump.transfer.timeoutMilliseconds)
    }
    guestStop.pass(command.kind, of: client.id)
    noteGuestStop()
    sendToQEMU(line)
  }

  var tooMany: ToolError {
    ToolError(.qemuRefused, options.place.name) {
      $0.append("QEMU does not answer: too many commands without a reply")
    }
  }

  private mutating func prepare(
    for command: QMPRelay.Command, until deadline: Deadline
  ) throws(ToolError) {
    switch command.kind {
    case .logDirtyOn: try makeReady(until: deadline)
    case .save:
      if link.relay.isSaving {
        throw ToolError(.busy, options.place.name) { $0.append("a save is under way") }
      }
      try makeReady(until: deadline)
      session?.isOrdered()
      consoleState = hasSession ? nil : try ConsoleState.expect(at: options.dump.output)
    case .capabilities, .otherCapabilities, .logDirtyOff, .stop, .cont, .other: break
    }
  }

  /// A disk is attached, and the agent has dropped what QEMU has written before.
  private mutating func makeReady(until deadline: Deadline) throws(ToolError) {
    // While the guest still runs.
    try Output.requireReplaceable(options.dump.output)
    // The last save's, on its way back.
    if session?.isOver == true { endSession() }
    if !hasSession {
      guard try hasAgent() else { return }
      session = try SaveSession.begin(
        options.dump, at: options.place, until: deadline, signals: signals)
    }
    sessionDeadline = Deadline(timeoutMilliseconds: QMPProxy.silenceMilliseconds)
    do throws(ToolError) {
      try session?.makeReady(until: deadline, signals: signals)
    } catch {
      session = nil
      throw error
    }
  }

  var hasSession: Bool {
    switch session {
    case .some: true
    case .none: false
    }
  }

  /// Without one the state goes over the console, as far as that works.
  private func hasAgent() throws(ToolError) -> Bool {
    var xenstore = try XenstoreConnection.dom0(options.place.xenstore)
    return try onXen(options.place.name) { () throws(XenError) in
      try XenDomains.agentHint(options.stubdomain, &xenstore) != nil
    }
  }

  // MARK: Back to libxl

  mutating func answer(_ line: [UInt8], to client: ProxyClient) {
    do throws(MonitorError) {
      try client.send(line)
    } catch {
      drop(client, error)
    }
  }

  func refusal(of command: QMPRelay.Command, _ error: ToolError) -> [UInt8] {
    log(error.text)
    return QMPRelay.error(command, QMPProxy.words(error))
  }

  static func words(_ error: ToolError) -> PlainText {
    var text = PlainText()
    text.append("stubsave: ")
    text.append(error.text)
    return text
  }
}
