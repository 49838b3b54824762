import QEMUMonitor
import SaveDisk
import SystemIO
import Transfer

/// A QEMU whose state is taken: whatever goes wrong, a guest that was stopped here goes on.
struct QEMUSession: ~Copyable {
  private var monitor: Monitor
  private let socket: SystemPath
  /// Stopped by us, and not told to go on yet.
  private(set) var isStopped = false

  /// How long QEMU gets to let its guest go on after something has failed.
  private static let resumeTimeoutMilliseconds: UInt64 = 5000
  /// The same over a second connection, after the first has been closed.
  private static let resumeAnewTimeoutMilliseconds: UInt64 = 2000

  init(
    _ socket: SystemPath, deadline: Deadline, signals: Int32?
  ) throws(ToolError) {
    var monitor = try QEMUSession.connect(socket, deadline)
    monitor.signals = signals
    self.monitor = monitor
    self.socket = socket
  }

  private static func connect(
    _ socket: SystemPath, _ deadline: Deadline
  ) throws(ToolError) -> Monitor {
    do throws(MonitorError) {
      return try Monitor.connect(to: socket, deadline: deadline)
    } catch {
      throw ToolError(error, socket)
    }
  }

  /// What wrote the state, in lines, as the stream `metadata` has it.
  mutating func metadata() throws(ToolError) -> [UInt8] {
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
      guard case .refused = error else { throw ToolError(error, socket) }
    }
    return text.bytes
  }

  /// Sees that the guest does not run.
  ///
  /// - Parameter isAllowed: a running guest may be stopped.
  mutating func quiesce(isAllowed: Bool) throws(ToolError) {
    let state = try runState()
    if state.isIncoming {
      throw ToolError(.qemuRefused, socket) {
        $0.append("QEMU waits for a state itself (-incoming); there is none to take")
      }
    }
    if !state.isRunning { return }
    if !isAllowed {
      throw ToolError(.qemuRefused, socket) {
        $0.append("the guest is running; --pause stops it for the dump")
      }
    }
    isStopped = true
    try run { monitor throws(MonitorError) in try monitor.stop() }
  }

  /// Sees that QEMU waits for a state.
  mutating func requireIncoming() throws(ToolError) {
    let state = try runState()
    if state.isIncoming { return }
    throw ToolError(.qemuRefused, socket) {
      $0.append("QEMU does not wait for a state (it is '")
      $0.append(state.status)
      $0.append("'); start it with -incoming defer")
    }
  }

  private mutating func runState() throws(ToolError) -> RunState {
    try run { monitor throws(MonitorError) in try monitor.runState() }
  }

  /// Has QEMU write its state into `sink`.
  mutating func save(into sink: borrowing BoundedFile, maxBytes: UInt64) throws(ToolError) {
    let descriptor = sink.writer.number
    let set = try run { monitor throws(MonitorError) in
      try monitor.addDescriptor(descriptor)
    }
    do throws(MonitorError) {
      try monitor.saveDeviceState(toSet: set)
    } catch {
      if case .refused = error {
        removeDescriptors(set)
        if (try? sink.isFull()) == true {
          throw ToolError(.overLimit, socket) {
            $0.append("the state is larger than the limit: ")
            $0.append(maxBytes)
            $0.append(" bytes; --max-state raises it (")
            $0.append(error)
            $0.append(")")
          }
        }
      }
      throw ToolError(error, socket)
    }
    removeDescriptors(set)
    let (bytes, isState) = try attempt(socket) { () throws(SystemError) in
      (try sink.reader.status().bytes, try sink.reader.beginsWithQEMUMagic())
    }
    if bytes > maxBytes {
      throw ToolError.overMaxState(socket, stateBytes: bytes, maxBytes: maxBytes)
    }
    if !isState {
      throw ToolError(.qemuRefused, socket) {
        $0.append("QEMU said that it saved, but what it wrote (")
        $0.append(bytes)
        $0.append(" bytes) is no device state")
      }
    }
  }

  /// A set that stays is an empty file in the end (`BoundedFile`).
  private mutating func removeDescriptors(_ set: UInt64) {
    do throws(MonitorError) {
      try monitor.removeDescriptors(set: set)
    } catch {
      // The state is there; whether the reply comes late or never is of no consequence.
      monitor.abandon()
    }
  }

  /// Gives QEMU a state, and waits until it has loaded it.
  mutating func load(_ state: borrowing FileDescriptor) throws(ToolError) {
    let number = state.number
    try run { monitor throws(MonitorError) in try monitor.load(number) }
  }

  /// Lets a guest go on that was stopped here.
  mutating func resume() throws(ToolError) {
    guard isStopped else { return }
    try run { monitor throws(MonitorError) in try monitor.cont() }
    isStopped = false
  }

  /// The same after `error`: once more and briefly, also when a signal wants to end the process.
  ///
  /// - Returns: the error, with a word if the guest stays stopped.
  mutating func resume(after error: ToolError) -> ToolError {
    guard isStopped else { return error }
    monitor.abandon()
    monitor.signals = nil
    monitor.deadline = Deadline(
      timeoutMilliseconds: QEMUSession.resumeTimeoutMilliseconds)
    do throws(MonitorError) {
      try monitor.cont()
      isStopped = false
      return error
    } catch let failure {
      if case .closed = failure, resumeAnew() { return error }
    }
    return ToolError(error, adding: "; the guest was stopped, and could not be told to go on")
  }

  /// Over a new connection: the old one may have gone through somebody who has ended.
  ///
  /// - Returns: true if the guest goes on, or there is no QEMU any more.
  private mutating func resumeAnew() -> Bool {
    do throws(MonitorError) {
      var another = try Monitor.connect(
        to: socket,
        deadline: Deadline(timeoutMilliseconds: QEMUSession.resumeAnewTimeoutMilliseconds))
      try another.cont()
      isStopped = false
      return true
    } catch {
      guard case .cannotConnect(let error) = error else { return false }
      return error.errno == Errno.connectionRefused || error.errno == Errno.noEntry
    }
  }

  /// Leaves a guest that was stopped here as it is.
  mutating func keepStopped() { isStopped = false }

  /// An error of the monitor becomes one of the command, about `socket`.
  private mutating func run<R>(
    _ body: (inout Monitor) throws(MonitorError) -> R
  ) throws(ToolError) -> R {
    do throws(MonitorError) { return try body(&monitor) } catch {
      throw ToolError(error, socket)
    }
  }
}

extension ToolError {
  init(_ error: MonitorError, _ socket: SystemPath) {
    self.init(ExitStatus(error), socket) { $0.append(error) }
  }

  /// The same with more words.
  init(_ error: ToolError, adding words: StaticString) {
    var text = error.text
    var reason = error.reason
    text.append(words)
    reason.append(words)
    self.init(status: error.status, text: text, reason: reason)
  }
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
    case .deadline: self = .deadline
    case .interrupted: self = .internalError
    case .closed, .lineTooLong, .notJSON, .notQMP, .refused, .migrationFailed:
      self = .qemuRefused
    }
  }
}
