import Codecs
import QEMUMonitor
import Rendezvous
import SaveDisk
import SystemIO
import Transfer

/// `serve`: attends to dom0's offers beside a QEMU, until the carrier or QEMU is gone.
struct AgentService<Carrier: AnsweringCells & ~Copyable>: ~Copyable {
  private var attention: Attention<Carrier>
  private var qemu: QEMUSide
  private var machine = AgentMachine()
  private let files: AgentFiles
  private let maxStateBytes: UInt64
  private let signals: Int32
  /// A guest that has been stopped goes on then, unless dom0 has said `keep`: its death is not seen
  /// over xenstore.
  private var keepDeadline: Deadline?
  /// The end of QEMU has been told of with what failed because of it.
  private var hasToldOfEnd = false
  /// What an agent before this one, which has died, said last.
  private var inherited: Answer?

  /// - Parameter signals: the number of `EndingSignals`.
  init(
    carrier: consuming Carrier, qemu: consuming QEMUSide, files: AgentFiles,
    maxStateBytes: UInt64, signals: Int32
  ) {
    attention = Attention(carrier)
    self.qemu = qemu
    self.files = files
    self.maxStateBytes = maxStateBytes
    self.signals = signals
  }

  /// - Returns: why it ended.
  mutating func run() -> ServiceEnd {
    do throws(ServiceEnd) {
      try inherit()
      while true {
        try look()
        do throws(MonitorError) {
          try qemu.monitor.takeEvents()
        } catch {
          throw hasToldOfEnd ? .toldOf(ExitStatus(error)) : .qemu(error)
        }
        try wait()
      }
    } catch {
      for action in machine.handle(.carrierGone) where action == .release { qemu.resume() }
      return error
    }
  }

  /// Of the offer that may still stand: a guest that was stopped for it is ours now.
  private mutating func inherit() throws(ServiceEnd) {
    do throws(CellError) {
      guard let bytes = try attention.carrier.lookAtOwn(),
        case .message(let answer) = Answer.read(bytes)
      else { return }
      inherited = answer
    } catch {
      throw .carrier(error)
    }
  }

  private mutating func wait() throws(ServiceEnd) {
    let readiness: UnixSocket.Readiness
    if !qemu.isStopped { keepDeadline = nil }
    do throws(SystemError) {
      readiness = try UnixSocket.wait(
        for: attention.number, or: qemu.monitor.number, toWrite: false,
        until: keepDeadline ?? Deadline(timeoutMilliseconds: .max), signals: signals)
    } catch {
      throw .system(error)
    }
    switch readiness {
    case .ready: return
    case .interrupted: throw .interrupted
    case .timedOut:
      keepDeadline = nil
      qemu.resume()
    }
  }

  private mutating func look() throws(ServiceEnd) {
    while true {
      let reading: Reading<Offer>?
      do throws(CellError) { reading = try attention.look() } catch { throw .carrier(error) }
      guard let reading else { return }
      for action in machine.handle(.offer(reading)) { try perform(action) }
    }
  }

  private mutating func perform(_ action: AgentMachine.Action) throws(ServiceEnd) {
    switch action {
    // Work is done here and now: when an offer is looked at there is none under way any more.
    case .stop: break
    case .release: qemu.resume()
    case .answer(let answer):
      do throws(CellError) {
        try attention.carrier.say(answer.encoded(version: machine.version))
      } catch {
        throw .carrier(error)
      }
    case .begin(let wanted):
      // Nil: dom0 wants something else, which the next look hands to the machine.
      guard let kind = try work(wanted) else { return }
      for action in machine.handle(.finished(kind)) { try perform(action) }
    }
  }

  // MARK: Work

  /// - Returns: the answer; nil if dom0 has withdrawn the offer.
  private mutating func work(_ wanted: Wanted) throws(ServiceEnd) -> AnswerKind? {
    qemu.begin(milliseconds: wanted.milliseconds)
    if let inherited, inherited.id == wanted.id, inherited.guest == .stopped { qemu.inheritStop() }
    inherited = nil
    do throws(WorkFailure) {
      return try perform(wanted)
    } catch {
      // Also when a signal wants to end the agent: first a guest that was stopped goes on.
      qemu.resume()
      if error.isWithdrawn { return nil }
      AgentFailure(error, qemu.socket).say()
      hasToldOfEnd = error.endsQEMU
      return error.answer(qemu.guest)
    }
  }

  private mutating func perform(_ wanted: Wanted) throws(WorkFailure) -> AnswerKind {
    switch wanted.verb {
    case .cont:
      try qemu.cont()
      return .ready
    case .keep:
      try qemu.keepStopped()
      return .ready
    case .reset(let maxBytes, let blockers):
      guard maxBytes <= maxStateBytes else {
        throw WorkFailure(.large, .overLimit) { text in
          text.append("the agent's limit is ")
          text.append(maxStateBytes)
          text.append(" bytes of state")
        }
      }
      try qemu.requireSavable(blockers)
      try qemu.reset()
      return .ready
    case .save(let offered, let maxBytes):
      try qemu.look()
      try requireState(maxBytes)
      let disk = try open(offered, wanted, isWriting: true)
      let written = try write(disk, try header(of: disk, offered), maxBytes)
      return .committed(diskBytes: written, qemu.guest)
    case .take(let offered, let maxBytes, let wish, let blockers):
      // What can be refused is refused first, and the guest need not stand while a device is waited
      // for.
      _ = try qemu.look(wish)
      try qemu.requireSavable(blockers)
      let disk = try open(offered, wanted, isWriting: true)
      let header = try header(of: disk, offered)
      try take(wish)
      try requireState(maxBytes)
      try attention.heed(wanted.id)
      let written = try write(disk, header, maxBytes)
      // Whoever has given up counts this as a failure.
      try attention.heed(wanted.id)
      keepDeadline = qemu.isStopped ? Deadline(timeoutMilliseconds: wanted.milliseconds) : nil
      return .committed(diskBytes: written, qemu.guest)
    case .load(let offered, let maxBytes):
      try qemu.requireIncoming()
      let limit = min(maxBytes, maxStateBytes)
      let disk = try open(offered, wanted, isWriting: false)
      let state = try StateFromDisk.read(disk, offered.transferID, maxBytes: limit)
      state.compareMetadata(with: qemu.metadata, qemu.socket)
      try attention.heed(wanted.id)
      try qemu.load(state.file, bytes: state.bytes)
      return .loaded(stateBytes: state.bytes)
    }
  }

  private mutating func open(
    _ offered: OfferedDisk, _ wanted: Wanted, isWriting: Bool
  ) throws(WorkFailure) -> FileDescriptor {
    let disk = try attention.open(
      offered.device, of: wanted, isWriting: isWriting, until: qemu.monitor.deadline, files)
    try attention.heed(wanted.id)
    return disk
  }

  /// QEMU's state, into the file; the guest stands still meanwhile, and from then on if it is to be
  /// kept so.
  private mutating func take(_ wish: GuestWish) throws(WorkFailure) {
    if try qemu.look(wish) {
      // Before it is done: whoever hears this and nothing more knows that the guest may stand.
      try tell(.stopped)
      try qemu.stop()
    } else if qemu.isStopped {
      try tell(.stopped)
    }
    try qemu.save()
    if wish != .keep && qemu.isStopped {
      try qemu.cont()
      try tell(.running)
    }
  }

  private mutating func tell(_ guest: GuestState) throws(WorkFailure) {
    for case .answer(let answer) in machine.handle(.progressed(bytes: 0, guest)) {
      do throws(CellError) {
        try attention.carrier.say(answer.encoded(version: machine.version))
      } catch {
        throw attention.lose(error)
      }
    }
  }

  /// The header of a disk that is still empty, and the one that was offered.
  private func header(
    of disk: borrowing FileDescriptor, _ offered: OfferedDisk
  ) throws(WorkFailure) -> DiskHeader.Parsed {
    do throws(FillError) {
      let header = try DiskFilling.header(on: disk)
      // Else a mistake of dom0's: another disk.
      if header.header.transferID == offered.transferID && header.header.direction == .save {
        return header
      }
    } catch {
      throw WorkFailure(error)
    }
    throw WorkFailure(.foreign, .wouldDestroy) { $0.append("not the disk of the offer") }
  }

  /// Streams what QEMU has written to the disk of the offer.
  ///
  /// - Returns: the disk's length in bytes, once it is on stable storage.
  private func write(
    _ disk: borrowing FileDescriptor, _ header: DiskHeader.Parsed, _ maxBytes: UInt64
  ) throws(WorkFailure) -> UInt64 {
    var writer = DiskWriter(
      header: header, store: FileStore(FileDescriptor(borrowing: disk.number)),
      setting: CodecSetting(allowed: header.header.allowedCodecs), writesHeader: false,
      maxStateBytes: ReaderLimits.forState(maxBytes: maxBytes).maxStateBytes)
    do throws(WriteError) {
      return try writer.fill(from: qemu.sink.reader, metadata: qemu.metadata).diskBytes
    } catch {
      throw WorkFailure(.write(error))
    }
  }

  /// Sees that QEMU has written a state, and puts its file to its start.
  private func requireState(_ maxBytes: UInt64) throws(WorkFailure) {
    let (bytes, isState) = try attempt(.system) { () throws(SystemError) in
      let bytes = try qemu.sink.reader.status().bytes
      try qemu.sink.reader.rewind()
      return (bytes, try qemu.sink.reader.beginsWithQEMUMagic())
    }
    if bytes > maxBytes { throw WorkFailure.large(stateBytes: bytes) }
    if isState { return }
    throw WorkFailure(.empty, .qemuRefused) { text in
      text.append("what QEMU wrote (")
      text.append(bytes)
      text.append(" bytes) is no device state")
    }
  }
}

/// Why the agent serves no longer.
enum ServiceEnd: Error {
  case carrier(CellError)
  case qemu(MonitorError)
  /// QEMU is gone, which has been said.
  case toldOf(ExitStatus)
  case system(SystemError)
  /// A signal, which ends the process as soon as it is let through.
  case interrupted
}
