import Rendezvous
import SaveDisk
import SystemIO
import Transfer
import Xenstore

/// `load`: waits for one offer to restore, and gives the state to a QEMU that is not there yet.
///
/// QEMU is started by this program in its own place, once everything has been verified and is in a
/// pipe: with a wrong or missing state there is no QEMU, instead of one that waits for ever. What the
/// pipe does not hold a process of its own feeds (formats/rendezvous.md, section 3.4).
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

  /// - Returns: a pipe with the state; `loaded` has been said.
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
    let state: PipedState
    do throws(WorkFailure) {
      state = try prepare(wanted, maxStateBytes)
    } catch {
      // Something else is wanted, which the next look hands to the machine.
      if error.isWithdrawn { return nil }
      try finish(error.answer(.unknown))
      throw .work(error)
    }
    try finish(.loaded(stateBytes: state.bytes))
    return state.takeReader()
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
    return try StateFromDisk.read(
      disk, offered.transferID, maxBytes: min(maxBytes, maxStateBytes))
  }

  private mutating func prepare(
    _ wanted: Wanted, _ maxStateBytes: UInt64
  ) throws(WorkFailure) -> PipedState {
    let state = try PipedState.make(of: try read(wanted, maxStateBytes))
    // Who has given up must not find a QEMU started.
    try attention.heed(wanted.id)
    return state
  }

  private mutating func finish(_ kind: AnswerKind) throws(LoadFailure) {
    for case .answer(let answer) in machine.handle(.finished(kind)) { try say(answer) }
  }
}

/// A pipe with a state for a QEMU that is not there yet.
struct PipedState: ~Copyable {
  let bytes: UInt64
  private let reader: FileDescriptor

  /// How long QEMU may take from its start on to read what the pipe does not hold.
  private static let feedMilliseconds: UInt64 = 60_000

  static func make(of state: borrowing StateFromDisk) throws(WorkFailure) -> PipedState {
    let bytes = state.bytes
    let reader = try attempt(.system) { () throws(SystemError) in
      var feed = try PipeFeed(of: state.file, bytes: bytes)
      try feed.fill()
      try feed.feedApart(milliseconds: feedMilliseconds) { done in late(done, of: bytes) }
      guard let reader = feed.takeReader() else { preconditionFailure() }
      return reader
    }
    return PipedState(bytes, reader)
  }

  private init(_ bytes: UInt64, _ reader: consuming FileDescriptor) {
    self.bytes = bytes
    self.reader = reader
  }

  consuming func takeReader() -> FileDescriptor { reader }

  /// What the process that feeds says when it gives up.
  private static func late(_ done: UInt64, of bytes: UInt64) -> [UInt8] {
    var text = PlainText()
    text.append("stubsave-agent: QEMU has not read its state in time: at most ")
    text.append(done)
    text.append(" of ")
    text.append(bytes)
    text.append(" bytes\n")
    return text.bytes
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
