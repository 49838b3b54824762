import QEMUMonitor
import Rendezvous
import SaveDisk
import SystemIO
import Transfer

/// Why the agent's work came to nothing.
struct WorkFailure: Error {
  let reason: FailureReason
  let status: ExitStatus
  /// What is known beyond the reason, for standard error.
  let text: PlainText
  /// The same for the answer, which has little room; nil is the beginning of the text.
  var words: PlainText?
  /// The capacity that a disk must have, if one that is larger would do.
  private(set) var neededBytes: UInt64 = 0
  /// QEMU has ended, or will: that is no news later.
  var endsQEMU = false
  /// dom0 has said something else meanwhile; nobody waits for an answer.
  private(set) var isWithdrawn = false

  init(_ reason: FailureReason, _ status: ExitStatus, _ build: (inout PlainText) -> Void) {
    var text = PlainText()
    build(&text)
    self.reason = reason
    self.status = status
    self.text = text
  }

  init(_ reason: FailureReason, _ error: SystemError) {
    self.init(reason, ExitStatus(error)) { $0.append(error) }
  }

  /// More than a limit.
  static func large(stateBytes: UInt64) -> WorkFailure {
    WorkFailure(.large, .overLimit) { text in
      text.append("the state has ")
      text.append(stateBytes)
      text.append(" bytes")
    }
  }

  static var withdrawn: WorkFailure {
    var failure = WorkFailure(.system, .stubdomainFailed) { $0.append("the offer was withdrawn") }
    failure.isWithdrawn = true
    return failure
  }

  init(_ error: MonitorError) {
    let reason: FailureReason
    switch error {
    case .system, .interrupted: reason = .system
    default: reason = .qemu
    }
    self.init(reason, ExitStatus(error)) { $0.append(error) }
    if case .closed = error { endsQEMU = true }
  }

  init(_ error: FillError) {
    let reason: FailureReason
    switch error {
    case .used, .otherSize: reason = .foreign
    case .unusable(.disk): reason = .disk
    case .unusable: reason = .device
    case .write(.diskTooSmall): reason = .small
    case .write(.overMaxRawBytes): reason = .large
    case .write(.store): reason = .device
    case .write(.source), .write(.refused): reason = .system
    }
    self.init(reason, ExitStatus(error)) { $0.append(error) }
    if case .write(.diskTooSmall(_, let needed)) = error { neededBytes = needed }
  }

  init(_ failure: DoorFailure) {
    let reason: FailureReason
    switch failure {
    case .disk(let error) where error.verdict == .overLimit: reason = .large
    case .disk, .noSuchStream: reason = .disk
    case .input: reason = .device
    // The agent looks within its own process: the stubdomain is the wall.
    case .output, .decoder: reason = .system
    }
    self.init(reason, ExitStatus(failure)) { $0.append(failure) }
  }

  /// The answer that it makes.
  func answer(_ guest: GuestState) -> AnswerKind {
    .failed(
      code: status.rawValue, neededBytes: neededBytes, guest, reason,
      words: AgentWords(words ?? text))
  }
}

/// Runs `body`; an error of the system becomes one of the work.
func attempt<R: ~Copyable>(
  _ reason: FailureReason, _ body: () throws(SystemError) -> R
) throws(WorkFailure) -> R {
  do throws(SystemError) { return try body() } catch { throw WorkFailure(reason, error) }
}

/// The same of something that is asked of QEMU's monitor.
func ask<R: ~Copyable>(
  _ monitor: inout Monitor, _ body: (inout Monitor) throws(MonitorError) -> R
) throws(WorkFailure) -> R {
  do throws(MonitorError) { return try body(&monitor) } catch { throw WorkFailure(error) }
}

extension ExitStatus {
  init(_ error: MonitorError) {
    switch error {
    case .cannotConnect(let error):
      switch error.errno {
      case Errno.nameTooLong: self = .usage
      case Errno.connectionRefused: self = .qemuRefused
      default: self = ExitStatus(error)
      }
    case .system(let error): self = ExitStatus(error)
    case .deadline, .notRead: self = .deadline
    case .interrupted: self = .stubdomainFailed
    case .closed, .lineTooLong, .notJSON, .notQMP, .refused, .migrationFailed:
      self = .qemuRefused
    }
  }
}
