import QEMUMonitor
import SaveDisk
import SystemIO
import Transfer

/// From QEMU to libxl.
extension QMPProxy {
  /// libxl says that it has finished within that, or does not say it at all (a soft reset).
  private static let afterSaveMilliseconds: UInt64 = 2_000

  mutating func takeFromServer() throws(MonitorError) {
    guard fillFromServer() else { return }
    while let line = nextFromServer() {
      guard let message = relay.message(line) else {
        noteDropped(line)
        continue
      }
      if relay.isGreeted { greetingDeadline = nil }
      switch message {
      case .reply(let command, let line, isError: false) where command.kind == .save:
        try finish(command, line)
      case .reply(let command, let line, _) where command.kind == .logDirtyOff:
        defer { endSession() }
        try answer(line)
      case .reply(let command, let line, isError: true) where command.kind == .save:
        saveDeadline = nil
        try answer(line)
      case .reply(_, let line, _), .other(let line): try answer(line)
      case .blockers(let blockers): try heed(blockers)
      }
    }
  }

  private mutating func fillFromServer() -> Bool {
    do throws(MonitorError) {
      try server?.flush()
      if try server?.fill() != .end { return true }
      loseServer(nil)
    } catch {
      loseServer(error)
    }
    return false
  }

  private mutating func nextFromServer() -> [UInt8]? {
    do throws(MonitorError) {
      return try server?.next()
    } catch {
      loseServer(error)
      return nil
    }
  }

  /// The first few of a connection are told: a stubdomain could write dom0's log full.
  private mutating func noteDropped(_ line: [UInt8]) {
    droppedLines += 1
    if droppedLines > QMPProxy.maxToldLines { return }
    var text = PlainText()
    text.append("a line of the stubdomain's QEMU is dropped: ")
    text.append(escaping: line, maxBytes: 200)
    log(text)
  }

  /// QEMU says that it has saved its state; libxl hears of it once that is in the file.
  private mutating func finish(
    _ command: QMPRelay.Command, _ line: [UInt8]
  ) throws(MonitorError) {
    saveDeadline = nil
    let start = MonotonicClock.nanoseconds
    do throws(ToolError) {
      try fetch(since: start)
    } catch {
      session = nil
      return try answer(refusal(of: command, error))
    }
    // While libxl goes on, or if it is there no more: this disk is used up.
    defer {
      session?.letGo()
      sessionDeadline = Deadline(timeoutMilliseconds: QMPProxy.afterSaveMilliseconds)
    }
    try answer(line)
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
  mutating func giveUpSave() throws(MonitorError) {
    saveDeadline = nil
    let error = ToolError(.deadline, options.place.name) {
      $0.append("QEMU did not save its state in time; --timeout sets how long")
    }
    guard let line = relay.giveUpSave(QMPProxy.words(error)) else { return }
    log(error.text)
    defer { endSession() }
    try answer(line)
  }
}
