import QEMUMonitor
import Rendezvous
import SaveDisk
import SystemIO
import Transfer

/// The QEMU beside the agent: a monitor that stays connected, and the file into which QEMU writes
/// its state. Whatever goes wrong, a guest that was stopped here goes on.
///
/// The file is a regular one that cannot grow beyond its limit, so the limit holds while QEMU
/// writes.
struct QEMUSide: ~Copyable {
  var monitor: Monitor
  let socket: SystemPath
  let sink: BoundedFile
  /// What writes the state, in lines, as the stream `metadata` has it.
  let metadata: [UInt8]
  /// What is known of the guest since the last `begin`.
  private(set) var guest = GuestState.unknown
  /// Stopped here, and not told to go on yet.
  private(set) var isStopped = false
  /// QEMU has the file as the set that libxl names.
  private var isLibxlReady = false
  /// The number of `EndingSignals`.
  private let signals: Int32?

  /// The set that libxl names (tools/libs/light/libxl_dom_save.c).
  static let libxlSet: UInt64 = 1
  static let resumeTimeoutMilliseconds: UInt64 = 5_000

  /// - Parameters:
  ///   - timeoutMilliseconds: for connecting.
  ///   - signals: the number of `EndingSignals`; one ends whatever QEMU is waited for.
  static func connect(
    to socket: SystemPath, maxStateBytes: UInt64, timeoutMilliseconds: UInt64, signals: Int32?
  ) throws(MonitorError) -> QEMUSide {
    let sink: BoundedFile
    do throws(SystemError) {
      sink = try BoundedFile.bestEffort(maxBytes: maxStateBytes)
    } catch {
      throw .system(error)
    }
    var monitor = try Monitor.connect(
      to: socket, deadline: Deadline(timeoutMilliseconds: timeoutMilliseconds), signals: signals)
    let metadata = try metadata(&monitor)
    return QEMUSide(monitor, socket, sink, metadata, signals)
  }

  private init(
    _ monitor: consuming Monitor, _ socket: SystemPath, _ sink: consuming BoundedFile,
    _ metadata: [UInt8], _ signals: Int32?
  ) {
    self.monitor = monitor
    self.socket = socket
    self.sink = sink
    self.metadata = metadata
    self.signals = signals
  }

  private static func metadata(_ monitor: inout Monitor) throws(MonitorError) -> [UInt8] {
    var text = PlainText()
    text.append("qemu ")
    text.append(monitor.version)
    text.append("\n")
    do throws(MonitorError) {
      let machine = try monitor.machineType()
      text.append("machine ")
      text.append(machine)
      text.append("\n")
    } catch {
      // A QEMU that does not say is none the worse.
      guard case .refused = error else { throw error }
    }
    return text.bytes
  }

  /// The time for what is asked from now on begins.
  mutating func begin(milliseconds: UInt64) {
    monitor.signals = signals
    monitor.deadline = Deadline(timeoutMilliseconds: milliseconds)
    guest = .unknown
  }

  // MARK: Saving

  /// Makes ready for a save that libxl orders, to `/dev/fdset/1`.
  mutating func reset() throws(WorkFailure) {
    try empty()
    if isLibxlReady { return }
    let descriptor = sink.writer.number
    try ask(&monitor) { monitor throws(MonitorError) in
      try monitor.addDescriptor(descriptor, toSet: QEMUSide.libxlSet)
    }
    isLibxlReady = true
  }

  /// Empties the file and puts QEMU's descriptor at its start: O_TRUNC leaves the offset where the
  /// last save has left it, and the next would begin with a hole (measured with 7.2).
  private func empty() throws(WorkFailure) {
    try attempt(.system) { () throws(SystemError) in
      try sink.writer.truncate(to: 0)
      try sink.writer.rewind()
    }
  }

  /// Learns how the guest is.
  ///
  /// - Returns: whether it has to be stopped for this wish.
  mutating func look(_ wish: GuestWish) throws(WorkFailure) -> Bool {
    let state = try look()
    if state.isIncoming {
      throw WorkFailure(.incoming, .qemuRefused) { $0.append("QEMU waits for a state itself") }
    }
    if state.isRunning && wish == .paused {
      throw WorkFailure(.runs, .qemuRefused) { $0.append("the guest is running") }
    }
    return state.isRunning
  }

  @discardableResult
  mutating func look() throws(WorkFailure) -> RunState {
    let state = try ask(&monitor) { monitor throws(MonitorError) in try monitor.runState() }
    forgetIfResumed()
    if state.isRunning { isStopped = false }
    guest = state.isRunning ? .running : isStopped ? .stopped : .paused
    return state
  }

  /// Sees that QEMU lists nothing for which it cannot be saved, unless nobody is to ask.
  mutating func requireSavable(_ blockers: BlockerPolicy) throws(WorkFailure) {
    if blockers == .ignore { return }
    let found = try ask(&monitor) { monitor throws(MonitorError) in try monitor.saveBlockers() }
    if case .some(let reasons) = found {
      throw WorkFailure(.blocked, .qemuRefused) { $0.append(reasons) }
    }
  }

  mutating func stop() throws(WorkFailure) {
    isStopped = true
    guest = .stopped
    monitor.hasResumed = false
    try ask(&monitor) { monitor throws(MonitorError) in try monitor.stop() }
  }

  /// Has QEMU write its state into the file.
  mutating func save() throws(WorkFailure) {
    try empty()
    // A set of its own, whose number QEMU chooses: another program may use set 1.
    let descriptor = sink.writer.number
    let set = try ask(&monitor) { monitor throws(MonitorError) in
      try monitor.addDescriptor(descriptor)
    }
    do throws(MonitorError) {
      try monitor.saveDeviceState(toSet: set)
    } catch {
      guard case .refused = error else { throw WorkFailure(error) }
      takeBack(set)
      if (try? sink.isFull()) == true {
        throw WorkFailure(.large, .overLimit) { $0.append(error) }
      }
      throw WorkFailure(error)
    }
    takeBack(set)
  }

  private mutating func takeBack(_ set: UInt64) {
    // The state is there; whether the reply comes late or never is of no consequence. A set that
    // stays is an empty file in the end (`BoundedFile`).
    try? monitor.removeDescriptors(set: set)
  }

  // MARK: Restoring

  /// Gives a QEMU that waits for a state (-incoming defer) this one; returns once it has loaded it.
  mutating func load(
    _ state: borrowing FileDescriptor, bytes: UInt64
  ) throws(WorkFailure) {
    do throws(MonitorError) {
      try monitor.load(state, bytes: bytes)
    } catch {
      var failure = WorkFailure(error)
      if error.endsLoad, let isConfigured = try? state.hasConfigurationSection() {
        failure = WorkFailure(.qemu, ExitStatus(error)) { text in
          text.append(error)
          text.append(loadOf: isConfigured)
        }
        failure.words = error.wordsOfLoad
      }
      // What only refuses a command waits on.
      if case .refused = error {} else { failure.endsQEMU = true }
      throw failure
    }
  }

  mutating func requireIncoming() throws(WorkFailure) {
    let state = try look()
    if state.isIncoming { return }
    throw WorkFailure(.settled, .qemuRefused) {
      $0.append("QEMU does not wait for a state: it is '")
      $0.append(state.status)
      $0.append("'")
    }
  }

  // MARK: The guest

  /// Tells QEMU to let its guest run, whoever has stopped it.
  mutating func cont() throws(WorkFailure) {
    try ask(&monitor) { monitor throws(MonitorError) in try monitor.cont() }
    isStopped = false
    guest = .running
  }

  /// Lets a guest go on that was stopped here, after something has failed: also when its monitor
  /// has been slow, or a signal wants to end the agent.
  mutating func resume() {
    forgetIfResumed()
    guard isStopped else { return }
    monitor.signals = nil
    monitor.deadline = Deadline(timeoutMilliseconds: QEMUSide.resumeTimeoutMilliseconds)
    do throws(MonitorError) {
      do throws(MonitorError) {
        try monitor.cont()
      } catch {
        guard case .closed = error else { throw error }
        // It may have gone through somebody who has ended.
        var another = try Monitor.connect(to: socket, deadline: monitor.deadline, signals: nil)
        try another.cont()
        monitor = another
        isLibxlReady = false
      }
      isStopped = false
      guest = .running
    } catch {
      guard case .cannotConnect(let error) = error else { return }
      if error.errno == Errno.connectionRefused || error.errno == Errno.noEntry {
        // There is no QEMU any more, and no guest.
        isStopped = false
        guest = .unknown
      }
    }
  }

  /// An agent before this one has stopped the guest, and died.
  mutating func inheritStop() {
    isStopped = true
    monitor.hasResumed = false
  }

  /// A guest that somebody else has let run since it was stopped here is not ours any more, even if
  /// it has been stopped again.
  private mutating func forgetIfResumed() {
    if monitor.hasResumed { isStopped = false }
  }

  /// Leaves a guest that was stopped here as it is, if it still stands.
  mutating func keepStopped() throws(WorkFailure) {
    if try look().isRunning {
      throw WorkFailure(.runs, .qemuRefused) { $0.append("the guest is running again") }
    }
    isStopped = false
  }
}

extension MonitorError {
  /// QEMU did not load the state, or has ended, as 7.2 does then.
  fileprivate var endsLoad: Bool {
    switch self {
    case .migrationFailed, .closed: true
    default: false
    }
  }
}

extension MonitorError {
  /// What a message has room for, QEMU's own words before ours.
  fileprivate var wordsOfLoad: PlainText {
    var text = PlainText()
    if case .migrationFailed(let description?) = self {
      text.append(escaping: description, maxBytes: 512)
    } else {
      text.append("QEMU did not load the state, and ended: see its own messages")
    }
    return text
  }
}

extension PlainText {
  /// The usual reason, which QEMU says on its own standard error alone ("Configuration section
  /// missing", "Unknown savevm section type 7"; migration/savevm.c).
  fileprivate mutating func append(loadOf isConfigured: Bool) {
    if isConfigured {
      append("; the state has a configuration section, which no QEMU loads that runs under Xen or ")
      append("with -global migration.send-configuration=off")
    } else {
      append("; the state has no configuration section: a QEMU without Xen loads it only with ")
      append("-global migration.send-configuration=off (and, if Xen's QEMU saved it, ")
      append("-global migration.send-section-footer=off)")
    }
  }
}
