import Rendezvous
import SaveDisk
import SystemIO
import Transfer

/// `stubsave-agent serve` as a child process, over a socket pair.
///
/// It is in a process group of its own, so that what a terminal sends reaches it through us alone,
/// and has its carrier and the disk as open files and no others.
struct LocalAgent: AgentPeer, ~Copyable {
  private var offerer: Offerer<SocketCells>
  private var process: ChildProcess
  private let agent: SystemPath
  private let monitor: SystemPath
  private let settings: TransferSettings

  /// Its open files.
  private static let carrierNumber: Int32 = 3
  private static let diskNumber: Int32 = 4
  /// For a child that has nothing more to do: longer is not waited, but killed.
  private static let endMilliseconds: UInt64 = 1_000

  static func start(
    _ agent: SystemPath, _ monitor: SystemPath, _ disk: borrowing TransferDisk,
    _ settings: TransferSettings
  ) throws(ToolError) -> LocalAgent {
    try start(
      agent, monitor, disk: disk.isOpenedByName ? nil : disk.device.number, settings)
  }

  private static func start(
    _ agent: SystemPath, _ monitor: SystemPath, disk: Int32?, _ settings: TransferSettings
  ) throws(ToolError) -> LocalAgent {
    do throws(SystemError) {
      let pair = try UnixSocket.packetPair()
      var files = [pair.theirs.number]
      if let disk { files.append(disk) }
      let process = try ChildProcess.start(
        agent,
        [
          agent, SystemPath(word: "serve"), monitor,
          SystemPath(word: "fd:", number: UInt64(carrierNumber)),
          SystemPath(word: "", number: settings.maxStateBytes), SystemPath(word: "/dev"),
          SystemPath(word: "", number: settings.timeoutMilliseconds),
        ], files: files)
      return LocalAgent(
        offerer: Offerer(SocketCells(pair.takeOurs())), process: process, agent: agent,
        monitor: monitor, settings: settings)
    } catch {
      throw ToolError(ExitStatus(error), agent) { text in
        text.append("cannot start the agent: ")
        text.append(error)
        if error.errno == Errno.noEntry { text.append("; --agent says where it is") }
      }
    }
  }

  private init(
    offerer: consuming Offerer<SocketCells>, process: consuming ChildProcess, agent: SystemPath,
    monitor: SystemPath, settings: TransferSettings
  ) {
    self.offerer = offerer
    self.process = process
    self.agent = agent
    self.monitor = monitor
    self.settings = settings
  }

  borrowing func name(of disk: borrowing TransferDisk) -> DeviceName {
    if disk.isOpenedByName,
      let name = DeviceName([UInt8](disk.path.directoryAndName.name.bytes))
    {
      return name
    }
    return DeviceName(openFile: LocalAgent.diskNumber)
  }

  // A QEMU on this machine has its guest with it, and the agent opens the disk by itself.
  mutating func origin() -> Origin? { nil }
  mutating func prepareGuest(_ wish: GuestWish) -> GuestWish { wish }
  mutating func resumeGuest() {}
  mutating func keepGuest() {}
  mutating func attach(_ disk: borrowing TransferDisk, isReadOnly: Bool, signals: Int32?) {}

  mutating func letGo() { _ = end() }
  var hasWorkAtEnd: Bool { false }

  mutating func offer(_ wanted: Wanted, signals: Int32?) -> OfferMachine {
    // That it has ended is seen at once: no other silence than that of all of its work.
    offerer.offer(wanted, silenceMilliseconds: nil, signals: signals)
  }

  mutating func idle() { offerer.idle() }

  mutating func giveUp(_ machine: OfferMachine, _ facts: EndingFacts) -> ToolError {
    guard let ending = machine.ending else { preconditionFailure() }
    if case .answered = ending {
      let error = ToolError(ending, facts, detail: detail(of: ending))
      return giveUp(
        // It has tried for as long as we would.
        after: machine.leavesGuestStopped ? ToolError(withGuestStopped: error) : error,
        guestIsStopped: machine.owesCont)
    }
    // Told to end, it lets a guest go on that it has stopped.
    let end = stop(LocalAgent.endMilliseconds + contMilliseconds)
    var error = ToolError(ending, facts, detail: nil)
    if ending == .gone { error = ToolError(end, takeLines().last, agent, facts) }
    var machine = machine
    offerer.hearLast(&machine)
    if machine.owesCont && !contByAnother() {
      error = ToolError(withGuestStopped: error)
    }
    return error
  }

  /// What it has said of a failure: on standard error, where it has room for all of it.
  private borrowing func detail(of ending: OfferMachine.Ending) -> PlainText? {
    if let line = takeLines().last { return line }
    guard case .answered(.failed(_, _, _, _, words: let words?)) = ending else { return nil }
    var text = PlainText()
    text.append(words)
    return text
  }

  mutating func giveUp(after error: ToolError, guestIsStopped: Bool) -> ToolError {
    var error = error
    if guestIsStopped && !say(.cont) {
      _ = stop(LocalAgent.endMilliseconds)
      if !contByAnother() { error = ToolError(withGuestStopped: error) }
      return error
    }
    _ = end()
    return error
  }

  mutating func end() -> [PlainText] {
    offerer.idle()
    offerer.end()
    _ = try? process.wait(until: Deadline(timeoutMilliseconds: LocalAgent.endMilliseconds))
    return takeLines()
  }

  /// Ends the process; nil if that cannot be found out.
  private mutating func stop(_ milliseconds: UInt64) -> ChildEnd? {
    process.terminate()
    return try? process.wait(until: Deadline(timeoutMilliseconds: milliseconds))
  }

  /// Has a new agent let the guest go on: the old one has been killed in the middle.
  private borrowing func contByAnother() -> Bool {
    do throws(ToolError) {
      var brief = settings
      brief.timeoutMilliseconds = contMilliseconds
      var another = try LocalAgent.start(agent, monitor, disk: nil, brief)
      let isReady = another.say(.cont)
      _ = another.end()
      return isReady
    } catch {
      return false
    }
  }

  /// What it has said on standard error, without its name and QEMU's.
  private borrowing func takeLines() -> [PlainText] {
    var prefix = PlainText()
    prefix.append("stubsave-agent: ")
    prefix.append(escaping: monitor.bytes)
    prefix.append(": ")
    return process.takeMessages().split(separator: UInt8(ascii: "\n")).map { line in
      var text = PlainText()
      let isPrefixed = line.starts(with: prefix.bytes)
      text.append(escaping: isPrefixed ? line.dropFirst(prefix.bytes.count) : line, maxBytes: 1024)
      return text
    }
  }
}

extension ToolError {
  /// An agent that has ended by itself, in the middle.
  fileprivate init(
    _ end: ChildEnd?, _ detail: PlainText?, _ agent: SystemPath, _ facts: EndingFacts
  ) {
    switch end {
    case .exited(let code)? where code != 0:
      self.init(ExitStatus(rawValue: code) ?? .stubdomainFailed, facts.place) { text in
        if let detail {
          text.append(detail)
        } else {
          text.append("the agent ended with exit code ")
          text.append(UInt64(code))
        }
      }
    case .signal(let number)?:
      self.init(.stubdomainFailed, agent) { text in
        text.append("the agent was ended by signal ")
        text.append(UInt64(max(number, 0)))
      }
    default: self.init(.stubdomainFailed, agent) { $0.append("the agent ended in the middle") }
    }
  }
}
