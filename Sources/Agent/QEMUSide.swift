import QEMUMonitor
import Rendezvous
import SaveDisk
import SystemIO
import Transfer

/// The QEMU beside the agent: a monitor that stays connected, and the file into which QEMU writes
/// its state.
///
/// QEMU has the file as set 1 from the start, so that an unmodified libxl can order a save to
/// `/dev/fdset/1`. It is a regular file that cannot grow beyond its limit, so the limit holds while
/// QEMU writes.
struct QEMUSide: ~Copyable {
  var monitor: Monitor
  let sink: BoundedFile
  /// Stopped by us, and not told to go on yet.
  private(set) var isStopped = false

  /// The set that libxl names (tools/libs/light/libxl_dom_save.c).
  static let set: UInt64 = 1
  static let commandTimeoutMilliseconds: UInt64 = 30_000
  static let resumeTimeoutMilliseconds: UInt64 = 5_000

  static func connect(
    to socket: SystemPath, maxStateBytes: UInt64
  ) throws(MonitorError) -> QEMUSide {
    let sink: BoundedFile
    do throws(SystemError) {
      sink = try BoundedFile.bestEffort(maxBytes: maxStateBytes)
    } catch {
      throw .system(error)
    }
    var monitor = try Monitor.connect(
      to: socket, deadline: Deadline(timeoutMilliseconds: commandTimeoutMilliseconds))
    try monitor.addDescriptor(sink.writer.number, toSet: set)
    return QEMUSide(monitor: monitor, sink: sink)
  }

  private init(monitor: consuming Monitor, sink: consuming BoundedFile) {
    self.monitor = monitor
    self.sink = sink
  }

  /// Empties the file and puts QEMU's descriptor at its start: O_TRUNC leaves the offset where the
  /// last save has left it, and the next would begin with a hole (measured with 7.2).
  mutating func reset() throws(WorkFailure) {
    do throws(SystemError) {
      try sink.writer.truncate(to: 0)
      try sink.writer.rewind()
    } catch {
      throw WorkFailure(ExitStatus(error))
    }
  }

  /// Has QEMU write its state into the file.
  mutating func take(_ wish: GuestWish) throws(WorkFailure) {
    monitor.abandon()
    monitor.deadline = Deadline(timeoutMilliseconds: QEMUSide.commandTimeoutMilliseconds)
    do throws(MonitorError) {
      let state = try monitor.runState()
      if state.isIncoming || (state.isRunning && wish == .paused) {
        throw MonitorError.refused(command: "take", description: [UInt8](state.status.bytes))
      }
      if state.isRunning {
        isStopped = true
        try monitor.stop()
      }
    } catch {
      throw WorkFailure(error)
    }
    // Only now: QEMU has answered, so nothing is being written any more.
    try reset()
    do throws(MonitorError) {
      try monitor.saveDeviceState(toSet: QEMUSide.set)
    } catch {
      if case .refused = error, (try? sink.isFull()) == true { throw WorkFailure(.overLimit) }
      throw WorkFailure(error)
    }
  }

  /// Gives a QEMU that waits for a state (-incoming defer) this one; returns once it has loaded it.
  mutating func load(_ state: borrowing FileDescriptor) throws(WorkFailure) {
    monitor.abandon()
    monitor.deadline = Deadline(timeoutMilliseconds: QEMUSide.commandTimeoutMilliseconds)
    do throws(MonitorError) {
      guard try monitor.runState().isIncoming else {
        throw MonitorError.notQMP("it does not wait for a state")
      }
      try monitor.load(state.number)
    } catch {
      throw WorkFailure(error)
    }
  }

  /// Lets a guest go on that was stopped here, also when its monitor has been slow.
  mutating func resume() {
    guard isStopped else { return }
    monitor.abandon()
    monitor.signals = nil
    monitor.deadline = Deadline(timeoutMilliseconds: QEMUSide.resumeTimeoutMilliseconds)
    do throws(MonitorError) {
      try monitor.cont()
      isStopped = false
    } catch {
      // Told by `guest`.
    }
  }

  /// Leaves a guest that was stopped here as it is.
  mutating func keepStopped() { isStopped = false }

  /// Whether the guest runs, as far as QEMU knows.
  mutating func guest() -> GuestState {
    monitor.abandon()
    monitor.signals = nil
    monitor.deadline = Deadline(timeoutMilliseconds: QEMUSide.resumeTimeoutMilliseconds)
    guard let state = try? monitor.runState() else { return .unknown }
    return state.isRunning ? .running : .stopped
  }
}

extension WorkFailure {
  init(_ error: MonitorError) {
    switch error {
    case .deadline: self.init(.deadline)
    case .system(let error): self.init(ExitStatus(error))
    default: self.init(.qemuRefused)
    }
  }
}
