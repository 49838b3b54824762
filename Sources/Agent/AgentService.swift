import Codecs
import QEMUMonitor
import Rendezvous
import SaveDisk
import SystemIO
import Transfer

/// `serve`: attends to dom0's offers beside a QEMU, until the carrier or QEMU is gone.
struct AgentService<Carrier: Cells & ~Copyable>: ~Copyable {
  private var carrier: Carrier
  private var qemu: QEMUSide
  private var machine = AgentMachine()
  private let files: AgentFiles
  private let maxStateBytes: UInt64

  init(
    carrier: consuming Carrier, qemu: consuming QEMUSide, files: AgentFiles,
    maxStateBytes: UInt64
  ) {
    self.carrier = carrier
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
        for: carrier.number, toWrite: false, until: Deadline(timeoutMilliseconds: .max),
        signals: qemu.monitor.number)
    } catch {
      throw .system(error)
    }
  }

  private mutating func look() throws(ServiceEnd) {
    while true {
      let bytes: [UInt8]?
      do throws(CellError) { bytes = try carrier.look() } catch { throw .carrier(error) }
      guard let bytes else { return }
      try perform(machine.handle(.offer(Offer.read(bytes))))
    }
  }

  private mutating func perform(_ actions: [AgentMachine.Action]) throws(ServiceEnd) {
    for action in actions {
      switch action {
      // Work is done here and now: when an offer is looked at there is none under way.
      case .stop: break
      case .answer(let answer): try say(answer)
      case .begin(let id, let verb):
        let kind = work(id, verb)
        // Withdrawn: the machine will see what has come instead.
        try perform(machine.handle(.finished(kind)))
      }
    }
  }

  private mutating func say(_ answer: Answer) throws(ServiceEnd) {
    do throws(CellError) { try carrier.say(answer.encoded()) } catch { throw .carrier(error) }
  }

  // MARK: Work

  private mutating func work(_ id: Bytes16, _ verb: Verb) -> AnswerKind {
    do throws(WorkFailure) {
      switch verb {
      case .reset(let maxBytes):
        guard maxBytes <= maxStateBytes else { throw WorkFailure(.overLimit) }
        try qemu.reset()
        return .ready
      case .save(let device, let maxBytes):
        let written = try write(id, device, maxBytes)
        return .committed(diskBytes: written, qemu.guest())
      case .take(let device, let maxBytes, let wish):
        try qemu.take(wish)
        if wish == .pause { qemu.resume() }
        let written = try write(id, device, maxBytes)
        qemu.keepStopped()
        return .committed(diskBytes: written, qemu.guest())
      case .load(let device, let maxBytes):
        let state = try StateFromDisk.read(
          id, device, maxBytes: min(maxBytes, maxStateBytes), from: files,
          carrier: carrier.number)
        try qemu.load(state.file)
        return .loaded(stateBytes: state.bytes)
      }
    } catch {
      qemu.resume()
      return .failed(
        code: error.status.rawValue, neededBytes: error.neededBytes, qemu.guest())
    }
  }

  /// Streams what QEMU has written to the disk of transfer `id`.
  ///
  /// - Returns: the disk's length in bytes, once it is on stable storage.
  private mutating func write(
    _ id: Bytes16, _ device: DeviceName, _ maxBytes: UInt64
  ) throws(WorkFailure) -> UInt64 {
    guard try hasState(maxBytes) else { throw WorkFailure(.qemuRefused) }
    let disk = try files.open(device, isWriting: true, carrier: carrier.number)
    let header: DiskHeader.Parsed
    switch EmptyDisk.probe(disk) {
    case .empty(let parsed): header = parsed
    case .used, .otherSize: throw WorkFailure(.wouldDestroy)
    case .failed(let failure): throw WorkFailure(ExitStatus(failure))
    }
    // A mistake of dom0's: another disk than the one that it offered.
    guard header.header.transferID == id, header.header.direction == .save else {
      throw WorkFailure(.wouldDestroy)
    }
    var writer = DiskWriter(
      header: header, store: FileStore(disk), setting: .auto, writesHeader: false,
      maxStateBytes: maxBytes)
    do throws(WriteError) {
      try writer.beginStream(.qemu)
      try writer.write(from: qemu.sink.reader)
      try writer.endStream()
      return try writer.commit().diskBytes
    } catch {
      writer.abandon(after: error)
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
