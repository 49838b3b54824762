import QEMUMonitor
import SaveDisk
import SystemIO
import Transfer

/// From QEMU to libxl.
extension QMPProxy {
  /// libxl says that it has finished within that, or does not say it at all (a soft reset).
  private static let afterSaveMilliseconds: UInt64 = 2_000

  /// So many times it is taken from at once, before others have their turn.
  private static let maxFillings = 16
  static let maxToldLines: UInt64 = 8

  mutating func takeFromQEMU() {
    do throws(MonitorError) {
      try link.flush()
      for _ in 0..<QMPProxy.maxFillings {
        while let line = try link.next() { try heed(line) }
        switch try link.fill() {
        case .nothing: return
        case .some: continue
        case .end: return loseQEMU(nil)
        }
      }
    } catch {
      loseQEMU(error)
    }
  }

  private mutating func heed(_ line: [UInt8]) throws(MonitorError) {
    let messages = link.relay.messages(line)
    if messages.isEmpty { return noteDropped(line) }
    for message in messages {
      switch message {
      case .greeting:
        guard let question = link.relay.ask(.negotiate) else { continue }
        try link.send(question.line)
      case .negotiated(nil):
        link.hasGreeted()
        guard let greeting = link.relay.greeting else { continue }
        for client in clients where !client.isGreeted { greet(client, greeting) }
      case .negotiated(.some): throw .notQMP("QEMU has refused qmp_capabilities")
      case .event(let event, let line): heed(event, line)
      case .reply(let reply):
        link.isWell()
        deliver(reply)
      case .blockers(let id, let blockers):
        link.isWell()
        heed(id, blockers)
      case .resumed(let words): heedResumed(words)
      }
    }
  }

  private mutating func heed(_ event: QMPRelay.Event, _ line: [UInt8]) {
    switch event {
    case .stop: guestStop.guestStopped(by: link.relay.stop)
    case .resume: guestStop.guestRuns()
    case .other: break
    }
    if event != .other { noteGuestStop() }
    for client in clients {
      do throws(MonitorError) {
        try client.tell(event: line)
      } catch {
        drop(client, error)
      }
    }
  }

  /// To the client, if it is there, what QEMU has said or somebody in its place.
  mutating func deliver(_ reply: QMPRelay.Reply) {
    let client = client(reply.client)
    switch (reply.command.kind, reply.isError) {
    case (.save, false): return finish(reply)
    case (.save, true): saveDeadline = nil
    case (.cont, false):
      guestStop.guestRuns()
      noteGuestStop()
    default: break
    }
    if let client { answer(reply.line, to: client) }
    // Also if libxl has gone: that is what it wanted.
    if reply.command.kind == .logDirtyOff { endSession() }
  }

  /// The first few of a connection are told: a stubdomain could write dom0's log full.
  private mutating func noteDropped(_ line: [UInt8]) {
    link.noteDroppedLine()
    if link.droppedLines > QMPProxy.maxToldLines { return }
    var text = PlainText()
    text.append("a line of the stubdomain's QEMU is dropped: ")
    text.append(escaping: line, maxBytes: 200)
    log(text)
  }

  /// QEMU says that it has saved its state; libxl hears of it once that is in the file. For a libxl
  /// that has gone nothing is put there.
  private mutating func finish(_ reply: QMPRelay.Reply) {
    saveDeadline = nil
    guard let client = client(reply.client) else { return }
    let start = MonotonicClock.nanoseconds
    do throws(ToolError) {
      try fetch(since: start)
    } catch {
      session = nil
      return answer(refusal(of: reply.command, error), to: client)
    }
    // While libxl goes on, or if it is there no more: this disk is used up.
    session?.letGo()
    sessionDeadline = Deadline(timeoutMilliseconds: QMPProxy.afterSaveMilliseconds)
    answer(reply.line, to: client)
    // What becomes of the guest is libxl's to say from now on.
    guard self.client(client.id) != nil else { return }
    guestStop.stateIsSaved()
    noteGuestStop()
  }

  /// The state, to where libxl reads it.
  private mutating func fetch(since start: UInt64) throws(ToolError) {
    guard let report = try session?.save(signals: signals) else {
      return try takeFromConsole()
    }
    var text = PlainText()
    text.append(stateBytes: report.stateBytes, digest: report.digest)
    text.append(", is in ")
    text.append(escaping: options.dump.output.bytes)
    text.append(", ")
    text.append((MonotonicClock.nanoseconds - start) / 1_000_000)
    text.append(" ms after QEMU's reply")
    log(text)
  }

  /// Without an agent.
  private mutating func takeFromConsole() throws(ToolError) {
    guard let state = consoleState.take() else {
      throw ToolError(.stubdomainFailed, options.place.name) {
        $0.append("the save has lost its disk before QEMU had written")
      }
    }
    let file = try state.require()
    try requireNoTrailer(of: file, options.dump.output)
    tellOfRestore(options.dump.output)
  }

  /// What stands at the end of libxl's file is taken for dom0's word when it comes back. That the
  /// stubdomain writes on is not kept out: the console is open.
  private func requireNoTrailer(
    of file: borrowing FileDescriptor, _ path: SystemPath
  ) throws(ToolError) {
    let transfer = options.dump.transfer
    try attempt(path) { () throws(SystemError) in try file.rewind() }
    let copy = try GivenState.privateCopy(
      of: file, path, transfer.carrying(.save).limits, transfer.spoolDirectory)
    try DecoderProcess.requireNoTrailer(
      of: copy.file, path, bytes: copy.bytes, limits: transfer.carrying(.save).limits)
  }

  /// Nothing can say of it whether it is whole.
  private func tellOfRestore(_ path: SystemPath) {
    var text = PlainText()
    text.append("warning: ")
    text.append(escaping: path.bytes)
    text.append(": came over the stubdomain's console, without stubsave-agent, and has no ")
    text.append("trailer: to restore it here, ")
    text.append(options.restore.acceptOption)
    text.append(" is needed before")
    log(text)
  }

  /// QEMU does not answer: libxl waits for ever, and the guest stands.
  mutating func giveUpSave() {
    saveDeadline = nil
    let error = ToolError(.deadline, options.place.name) {
      $0.append("QEMU did not save its state in time; --timeout sets how long")
    }
    guard let reply = link.relay.giveUpSave(QMPProxy.words(error)) else { return }
    log(error.text)
    if let client = client(reply.client) { answer(reply.line, to: client) }
    endSession()
  }
}
