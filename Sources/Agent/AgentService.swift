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

  init(
    carrier: consuming Carrier, qemu: consuming QEMUSide, files: AgentFiles,
    maxStateBytes: UInt64
  ) {
    attention = Attention(carrier)
    self.qemu = qemu
    self.files = files
    self.maxStateBytes = maxStateBytes
  }

  /// - Returns: why it ended.
  mutating func run() -> ServiceEnd {
    do throws(ServiceEnd) {
      try look()
      while true {
        try wait()
        try look()
        do throws(MonitorError) { try qemu.monitor.takeEvents() } catch { throw .qemu(error) }
      }
    } catch {
      qemu.resume()
      return error
    }
  }

  private mutating func wait() throws(ServiceEnd) {
    do throws(SystemError) {
      _ = try UnixSocket.wait(
        for: attention.number, toWrite: false, until: Deadline(timeoutMilliseconds: .max),
        signals: qemu.monitor.number)
    } catch {
      throw .system(error)
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
    case .answer(let answer):
      do throws(CellError) {
        try attention.carrier.say(answer.encoded())
      } catch {
        throw .carrier(error)
      }
    case .begin(let id, let verb):
      // Nil: dom0 wants something else, which the next look hands to the machine.
      guard let kind = work(id, verb) else { return }
      for action in machine.handle(.finished(kind)) { try perform(action) }
    }
  }

  // MARK: Work

  /// - Returns: the answer; nil if dom0 has withdrawn the offer.
  private mutating func work(_ id: Bytes16, _ verb: Verb) -> AnswerKind? {
    // A signal that wants to end the agent waits until a guest that was stopped goes on.
    let signals = try? EndingSignals()
    qemu.monitor.signals = EndingSignals.number(of: signals)
    defer { qemu.monitor.signals = nil }
    do throws(WorkFailure) {
      return try perform(id, verb)
    } catch {
      qemu.resume()
      if error.isWithdrawn { return nil }
      return .failed(
        code: error.status.rawValue, neededBytes: error.neededBytes, qemu.guest())
    }
  }

  private mutating func perform(
    _ id: Bytes16, _ verb: Verb
  ) throws(WorkFailure) -> AnswerKind {
    switch verb {
    case .reset(let maxBytes):
      guard maxBytes <= maxStateBytes else { throw WorkFailure(.overLimit) }
      try qemu.reset()
      return .ready
    case .save(let device, let maxBytes):
      let written = try write(id, device, maxBytes)
      return .committed(diskBytes: written, qemu.guest())
    case .take(let device, let maxBytes, let wish):
      try attention.heed(id)
      try qemu.take(wish)
      if wish == .pause { qemu.resume() }
      let written = try write(id, device, maxBytes)
      // Whoever has given up counts this as a failure.
      try attention.heed(id)
      if wish == .keep { qemu.keepStopped() } else { qemu.resume() }
      return .committed(diskBytes: written, qemu.guest())
    case .load(let device, let maxBytes):
      let limit = min(maxBytes, maxStateBytes)
      let disk = try attention.open(device, of: id, isWriting: false, files)
      let state = try StateFromDisk.read(disk, id, maxBytes: limit)
      try attention.heed(id)
      try qemu.load(state.file)
      return .loaded(stateBytes: state.bytes)
    }
  }

  /// Streams what QEMU has written to the disk of transfer `id`.
  ///
  /// - Returns: the disk's length in bytes, once it is on stable storage.
  private mutating func write(
    _ id: Bytes16, _ device: DeviceName, _ maxBytes: UInt64
  ) throws(WorkFailure) -> UInt64 {
    guard try hasState(maxBytes) else { throw WorkFailure(.qemuRefused) }
    let disk = try attention.open(device, of: id, isWriting: true, files)
    try attention.heed(id)
    let header: DiskHeader.Parsed
    do throws(FillError) {
      header = try DiskFilling.header(on: disk)
    } catch {
      throw WorkFailure(ExitStatus(error))
    }
    // A mistake of dom0's: another disk than the one that it offered.
    guard header.header.transferID == id, header.header.direction == .save else {
      throw WorkFailure(.wouldDestroy)
    }
    var writer = DiskWriter(
      header: header, store: FileStore(disk), setting: .auto, writesHeader: false,
      maxStateBytes: maxBytes)
    do throws(WriteError) {
      return try writer.fill(from: qemu.sink.reader).diskBytes
    } catch {
      var failure = WorkFailure(ExitStatus(error))
      if case .diskTooSmall(_, let needed) = error { failure.neededBytes = needed }
      throw failure
    }
  }

  /// Whether QEMU has written a state; its file is at its start then.
  private func hasState(_ maxBytes: UInt64) throws(WorkFailure) -> Bool {
    do throws(SystemError) {
      let bytes = try qemu.sink.reader.status().bytes
      if bytes > maxBytes { throw SystemError(.read, errno: Errno.fileTooLarge) }
      try qemu.sink.reader.rewind()
      return try qemu.sink.reader.beginsWithQEMUMagic()
    } catch {
      throw WorkFailure(error.errno == Errno.fileTooLarge ? .overLimit : ExitStatus(error))
    }
  }
}

/// Why the agent serves no longer.
enum ServiceEnd: Error {
  case carrier(CellError)
  case qemu(MonitorError)
  case system(SystemError)
}
