import QEMUMonitor
import Rendezvous
import SaveDisk
import SystemIO
import Transfer

/// QEMU is asked whether it can be saved, before libxl's save begins and before its guest stands
/// (formats/rendezvous.md, section 8): whatever the agent is, and also if there is none.
extension QMPProxy {
  /// A command of libxl's that waits for QEMU's answer.
  struct Held {
    let client: UInt64
    let command: QMPRelay.Command
    let arrival: ProxyClient.Arrival
    /// The id of the question.
    let question: UInt64

    /// For all that comes before QEMU hears of it.
    var deadline: Deadline { arrival.readyBy }
  }

  /// Passes a command on, after QEMU has been asked if it leads to a save.
  mutating func take(
    _ command: QMPRelay.Command, of client: ProxyClient, _ arrival: ProxyClient.Arrival
  ) {
    guard link.isReady else {
      client.waiting = ProxyClient.Waiting(command: command, arrival: arrival)
      return link.isNeeded()
    }
    guard isAbout(command, toSave: options.dump.transfer.blockers) else {
      return pass(command, of: client, until: arrival.readyBy)
    }
    guard let question = link.relay.ask(.askBlockers) else {
      answer(refusal(of: command, tooMany), to: client)
      return loseQEMU(.notQMP("too many commands without a reply"))
    }
    held = Held(client: client.id, command: command, arrival: arrival, question: question.id)
    sendToQEMU(question.line)
  }

  private func isAbout(_ command: QMPRelay.Command, toSave blockers: BlockerPolicy) -> Bool {
    guard blockers == .heed else { return false }
    switch command.kind {
    case .logDirtyOn, .stop: return true
    case .capabilities, .otherCapabilities, .logDirtyOff, .cont, .save, .other: return false
    }
  }

  /// QEMU has answered the question of that id.
  mutating func heed(_ id: UInt64, _ blockers: QMPRelay.Blockers) {
    // Else it was given up.
    guard let now = held, now.question == id else { return }
    held = nil
    guard let client = client(now.client) else { return }
    if let error = refusal(for: blockers) {
      answer(refusal(of: now.command, error), to: client)
    } else {
      pass(now.command, of: client, until: now.deadline)
    }
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
  mutating func giveUpQuestion() {
    guard let now = held.take(), let client = client(now.client) else { return }
    let error = ToolError(.deadline, options.place.name) {
      $0.append("QEMU did not say in time whether it can be saved")
    }
    answer(refusal(of: now.command, error), to: client)
  }
}
