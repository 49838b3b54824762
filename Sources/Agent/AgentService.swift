import Codecs
import QEMUMonitor
import Rendezvous
import SaveDisk
import SystemIO
import Transfer

/// `serve`: attends to dom0's offers beside a QEMU, until the carrier or QEMU is gone.
struct AgentService<Carrier: Cells & ~Copyable>: ~Copyable {
  private var attention: Attention<Carrier>
  private var qemu: QEMUSide
  private var machine = AgentMachine()
  private let files: AgentFiles
  private let maxStateBytes: UInt64
  private let signals: Int32

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
      while true {
        try look()
        do throws(MonitorError) { try qemu.monitor.takeEvents() } catch { throw .qemu(error) }
        try wait()
      }
    } catch {
      for action in machine.handle(.carrierGone) where action == .release { qemu.resume() }
      return error
    }
  }

  private mutating func wait() throws(ServiceEnd) {
    let isInterrupted: Bool
    do throws(SystemError) {
      isInterrupted = try UnixSocket.waitForAny(
        attention.number, qemu.monitor.number, signals: signals)
    } catch {
      throw .system(error)
    }
    if isInterrupted { throw .interrupted }
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
        try attention.carrier.say(answer.encoded())
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
    do throws(WorkFailure) {
      return try perform(wanted)
    } catch {
      // Also when a signal wants to end the agent: first a guest that was stopped goes on.
      qemu.resume()
      if error.isWithdrawn { return nil }
      AgentFailure(error, qemu.socket).say()
      return error.answer(qemu.guest)
    }
  }

  private mutating func perform(_ wanted: Wanted) throws(WorkFailure) -> AnswerKind {
    switch wanted.verb {
    case .cont:
      try qemu.cont()
      return .ready
    case .keep:
      qemu.keepStopped()
      return .ready
    case .reset(let maxBytes):
      guard maxBytes <= maxStateBytes else {
        throw WorkFailure(.large, .overLimit) { text in
          text.append("the agent's limit is ")
          text.append(maxStateBytes)
          text.append(" bytes of state")
        }
      }
      try qemu.reset()
      return .ready
    case .save(let device, let maxBytes):
      try qemu.look()
      let written = try write(wanted, device, maxBytes)
      return .committed(diskBytes: written, qemu.guest)
    case .take(let device, let maxBytes, let wish):
      try attention.heed(wanted.id)
      try take(wish)
      let written = try write(wanted, device, maxBytes)
      // Whoever has given up counts this as a failure.
      try attention.heed(wanted.id)
      return .committed(diskBytes: written, qemu.guest)
    case .load(let device, let maxBytes):
      try qemu.requireIncoming()
      let limit = min(maxBytes, maxStateBytes)
      let disk = try attention.open(device, of: wanted, isWriting: false, files)
      let state = try StateFromDisk.read(disk, wanted.id, maxBytes: limit)
      state.compareMetadata(with: qemu.metadata, qemu.socket)
      try attention.heed(wanted.id)
      try qemu.load(state.file)
      return .loaded(stateBytes: state.bytes)
    }
  }

  /// QEMU's state, into the file; the guest stands still meanwhile, and from then on if it is to be
  /// kept so.
  private mutating func take(_ wish: GuestWish) throws(WorkFailure) {
    if try qemu.look(wish) {
      // Before it is done: whoever hears this and nothing more knows that the guest may stand.
      try tell(.stopped)
      try qemu.stop()
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
        try attention.carrier.say(answer.encoded())
      } catch {
        throw attention.lose(error)
      }
    }
  }

  /// Streams what QEMU has written to the disk of the offer.
  ///
  /// - Returns: the disk's length in bytes, once it is on stable storage.
  private mutating func write(
    _ wanted: Wanted, _ device: DeviceName, _ maxBytes: UInt64
  ) throws(WorkFailure) -> UInt64 {
    try requireState(maxBytes)
    let disk = try attention.open(device, of: wanted, isWriting: true, files)
    try attention.heed(wanted.id)
    do throws(FillError) {
      let header = try DiskFilling.header(on: disk)
      // A mistake of dom0's: another disk than the one that it offered.
      guard header.header.transferID == wanted.id, header.header.direction == .save else {
        throw FillError.used
      }
      var writer = DiskWriter(
        header: header, store: FileStore(disk),
        setting: CodecSetting(allowed: header.header.allowedCodecs), writesHeader: false,
        maxStateBytes: ReaderLimits.forState(maxBytes: maxBytes).maxStateBytes)
      do throws(WriteError) {
        return try writer.fill(from: qemu.sink.reader, metadata: qemu.metadata).diskBytes
      } catch {
        throw .write(error)
      }
    } catch {
      throw WorkFailure(error)
    }
  }

  /// Sees that QEMU has written a state, and puts its file to its start.
  private func requireState(_ maxBytes: UInt64) throws(WorkFailure) {
    let (bytes, isState) = try attempt(.system) { () throws(SystemError) in
      let bytes = try qemu.sink.reader.status().bytes
      try qemu.sink.reader.rewind()
      return (bytes, try qemu.sink.reader.beginsWithQEMUMagic())
    }
    if bytes > maxBytes {
      throw WorkFailure(.large, .overLimit) { text in
        text.append("the state has ")
        text.append(bytes)
        text.append(" bytes")
      }
    }
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
  case system(SystemError)
  /// A signal, which ends the process as soon as it is let through.
  case interrupted
}
