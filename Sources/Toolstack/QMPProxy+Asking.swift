import QEMUMonitor
import Rendezvous
import SaveDisk
import SystemIO
import Transfer

/// QEMU is asked whether it can be saved, before libxl's save begins and before its guest stands
/// (formats/rendezvous.md, section 8): whatever the agent is, and also if there is none.
extension QMPProxy {
  /// For the question, and for what the command itself then needs before libxl may go on: its own
  /// limit is 10 s, and a disk that did not come to be has to be taken back. Takes a fraction of a
  /// second; a starved stubdomain took more than 4.
  private static let readyMilliseconds: UInt64 = 7_000

  /// A command of libxl's that waits for QEMU's answer.
  struct Held {
    let command: QMPRelay.Command
    /// For all that comes before QEMU hears of it.
    let deadline: Deadline
  }

  /// Passes a command on, after QEMU has been asked if it leads to a save.
  mutating func take(_ command: QMPRelay.Command) throws(MonitorError) {
    let deadline = Deadline(timeoutMilliseconds: QMPProxy.readyMilliseconds)
    guard isAbout(command, toSave: options.dump.transfer.blockers) else {
      return try pass(command, until: deadline)
    }
    guard let question = relay.ask() else {
      throw .notQMP("too many commands without a reply")
    }
    held = Held(command: command, deadline: deadline)
    try server?.send(question)
  }

  private func isAbout(_ command: QMPRelay.Command, toSave blockers: BlockerPolicy) -> Bool {
    guard blockers == .heed else { return false }
    switch command.kind {
    case .logDirtyOn, .stop: return true
    case .logDirtyOff, .save, .other: return false
    }
  }

  /// QEMU has answered.
  mutating func heed(_ blockers: QMPRelay.Blockers) throws(MonitorError) {
    // Nil: it was given up.
    guard let held = held.take() else { return }
    if let error = refusal(for: blockers) {
      try answer(refusal(of: held.command, error))
    } else {
      try pass(held.command, until: held.deadline)
    }
    // What libxl has said meanwhile.
    try takeLines()
  }

  private func refusal(for blockers: QMPRelay.Blockers) -> ToolError? {
    let place = options.place.name
    switch blockers {
    case .answered(.none): return nil
    case .answered(.some(let reasons)):
      let error = ToolError(
        blockedFor: nil, place, options.dump.transfer.ignoreBlockersOption)
      guard let words = AgentWords(reasons) else { return error }
      return ToolError(error, stubdomainSays: words)
    case .refused(let description):
      let error = ToolError(.qemuRefused, place) {
        $0.append("QEMU does not say whether it can be saved")
      }
      guard let words = AgentWords(description) else { return error }
      return ToolError(error, stubdomainSays: words)
    case .nonsense:
      return ToolError(.qemuRefused, place) {
        $0.append("what QEMU says to query-migrate is no answer to it")
      }
    }
  }

  /// QEMU does not answer: libxl hears of it in time, and QEMU nothing of the command.
  mutating func giveUpQuestion() throws(MonitorError) {
    guard let held = held.take() else { return }
    let error = ToolError(.deadline, options.place.name) {
      $0.append("QEMU did not say in time whether it can be saved")
    }
    try answer(refusal(of: held.command, error))
    try takeLines()
  }
}
