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
  private var carrier: Carrier
  private var machine = AgentMachine()
  private let files: AgentFiles
  private let deadline: Deadline

  init(carrier: consuming Carrier, files: AgentFiles, deadline: Deadline) {
    self.carrier = carrier
    self.files = files
    self.deadline = deadline
  }

  /// - Returns: the state; `loaded` has been said.
  mutating func run(maxStateBytes: UInt64) throws(LoadFailure) -> FileDescriptor {
    while true {
      while let bytes = try look() {
        for action in machine.handle(.offer(Offer.read(bytes))) {
          switch action {
          case .stop: break
          case .answer(let answer): try say(answer)
          case .begin(let id, let verb):
            if let state = try perform(id, verb, maxStateBytes) { return state }
          }
        }
      }
      do throws(SystemError) {
        let readiness = try UnixSocket.wait(
          for: carrier.number, toWrite: false, until: deadline, signals: nil)
        if readiness == .timedOut { throw SystemError(.poll, errno: Errno.timedOut) }
      } catch {
        throw error.errno == Errno.timedOut ? .deadline : .system(error)
      }
    }
  }

  private mutating func look() throws(LoadFailure) -> [UInt8]? {
    do throws(CellError) { return try carrier.look() } catch { throw .carrier(error) }
  }

  private mutating func say(_ answer: Answer) throws(LoadFailure) {
    do throws(CellError) { try carrier.say(answer.encoded()) } catch { throw .carrier(error) }
  }

  /// - Returns: nil if dom0 has withdrawn the offer meanwhile.
  private mutating func perform(
    _ id: Bytes16, _ verb: Verb, _ maxStateBytes: UInt64
  ) throws(LoadFailure) -> FileDescriptor? {
    let failure: WorkFailure
    do throws(WorkFailure) {
      guard case .load(let device, let maxBytes) = verb else { throw WorkFailure(.unsupported) }
      let state = try StateFromDisk.read(
        id, device, maxBytes: min(maxBytes, maxStateBytes), from: files, carrier: carrier.number)
      let bytes = state.bytes
      let file = state.takeFile()
      try finish(.loaded(stateBytes: bytes))
      return file
    } catch {
      failure = error
    }
    try say(finish: .failed(code: failure.status.rawValue, neededBytes: 0, .unknown))
    // Something else may be wanted; a disk that is not good will not become so.
    if failure.isWithdrawn { return nil }
    throw .work(failure)
  }

  private mutating func finish(_ kind: AnswerKind) throws(WorkFailure) {
    for case .answer(let answer) in machine.handle(.finished(kind)) {
      do throws(CellError) {
        try carrier.say(answer.encoded())
      } catch {
        throw WorkFailure(.stubdomainFailed)
      }
    }
  }

  private mutating func say(finish kind: AnswerKind) throws(LoadFailure) {
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
