import Rendezvous
import SaveDisk
import SystemIO
import Transfer
import Xenstore

/// `load`: waits for one offer to restore, and gives the state to a QEMU that is not there yet.
///
/// QEMU is started by this program in its own place, once everything has been verified: with a
/// wrong or missing state there is no QEMU, instead of one that waits for ever.
struct AgentLoader<Carrier: Cells & ~Copyable>: ~Copyable {
  private var attention: Attention<Carrier>
  private var machine = AgentMachine()
  private let files: AgentFiles
  private let deadline: Deadline

  init(carrier: consuming Carrier, files: AgentFiles, deadline: Deadline) {
    attention = Attention(carrier)
    self.files = files
    self.deadline = deadline
  }

  /// - Returns: the state; `loaded` has been said.
  mutating func run(maxStateBytes: UInt64) throws(LoadFailure) -> FileDescriptor {
    while true {
      while let reading = try look() {
        for action in machine.handle(.offer(reading)) {
          switch action {
          case .stop, .release: break
          case .answer(let answer): try say(answer)
          case .begin(let wanted):
            if let state = try perform(wanted, maxStateBytes) { return state }
          }
        }
      }
      do throws(SystemError) {
        let readiness = try UnixSocket.wait(
          for: attention.number, toWrite: false, until: deadline, signals: nil)
        if readiness == .timedOut { throw SystemError(.poll, errno: Errno.timedOut) }
      } catch {
        throw error.errno == Errno.timedOut ? .deadline : .system(error)
      }
    }
  }

  private mutating func look() throws(LoadFailure) -> Reading<Offer>? {
    do throws(CellError) { return try attention.look() } catch { throw .carrier(error) }
  }

  private mutating func say(_ answer: Answer) throws(LoadFailure) {
    do throws(CellError) {
      try attention.carrier.say(answer.encoded(version: machine.version))
    } catch {
      throw .carrier(error)
    }
  }

  /// - Returns: nil if dom0 has withdrawn the offer meanwhile.
  private mutating func perform(
    _ wanted: Wanted, _ maxStateBytes: UInt64
  ) throws(LoadFailure) -> FileDescriptor? {
    let state: StateFromDisk
    do throws(WorkFailure) {
      state = try read(wanted, maxStateBytes)
    } catch {
      // Something else is wanted, which the next look hands to the machine.
      if error.isWithdrawn { return nil }
      try finish(error.answer(.unknown))
      throw .work(error)
    }
    try finish(.loaded(stateBytes: state.bytes))
    return state.takeFile()
  }

  private mutating func read(
    _ wanted: Wanted, _ maxStateBytes: UInt64
  ) throws(WorkFailure) -> StateFromDisk {
    guard case .load(let offered, let maxBytes) = wanted.verb else {
      throw WorkFailure(.verb, .unsupported) {
        $0.append("something else than a state was offered")
      }
    }
    let disk = try attention.open(
      offered.device, of: wanted, isWriting: false,
      until: Deadline(timeoutMilliseconds: wanted.milliseconds), files)
    let state = try StateFromDisk.read(
      disk, offered.transferID, maxBytes: min(maxBytes, maxStateBytes))
    // Who has given up must not find a QEMU started.
    try attention.heed(wanted.id)
    return state
  }

  private mutating func finish(_ kind: AnswerKind) throws(LoadFailure) {
    for case .answer(let answer) in machine.handle(.finished(kind)) { try say(answer) }
  }
}

/// Why no state was loaded.
enum LoadFailure: Error {
  case connection(AgentFailure)
  case carrier(CellError)
  case system(SystemError)
  /// dom0 has offered nothing.
  case deadline
  case work(WorkFailure)
}
