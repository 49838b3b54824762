import SaveDisk
import SystemIO

/// A client of QEMU's monitor (QMP, docs/interop/qmp-spec.rst): one JSON object a line, events
/// between the replies.
///
/// What comes is bounded and checked before it is looked at. Every wait ends at a deadline.
/// Needs no JSON library, because Embedded Swift has none to link with.
public struct Monitor: ~Copyable {
  private var socket: UnixSocket
  private var lines: LineBuffer
  /// Of the command that was sent last.
  private var lastID: UInt64
  /// For every wait from now on; absolute, so that no flood of events extends it.
  public var deadline: Deadline { didSet { lateSteps = 0 } }
  private var lateSteps = 0
  /// What has come counts, though the whole domain was paused meanwhile and it is looked at late; but
  /// whoever goes on sending is not listened to for ever.
  private static let maxLateSteps = 64
  /// The number of `EndingSignals`; while it is set, a signal ends a wait with `.interrupted`.
  public var signals: Int32?
  /// QEMU's version as the greeting has it: numbers and package, such as
  /// "7.2.22 (Debian 1:7.2+dfsg-7+deb12u18)".
  public private(set) var version = PlainText()
  /// The guest has been let run (event RESUME) since this was last set to false.
  public var hasResumed = false
  /// The first two numbers of its version.
  var release: (major: UInt64, minor: UInt64) = (0, 0)
  /// While QEMU is given a state: fed in every wait.
  var feed = PipeFeed()
  /// The status of the last MIGRATION event.
  var migration: Migration?

  enum Migration { case underway, completed, failed }

  /// QEMU's longest reply, `query-qmp-schema`, has some 200 KB.
  public static let maxLineBytes = 1 << 20

  /// Connects, reads the greeting and leaves negotiation mode.
  ///
  /// Commands are numbered from a random number on: a command that was under way when the client
  /// before had gone is answered to the next one (measured with 7.2).
  public static func connect(
    to path: SystemPath, deadline: Deadline, signals: Int32? = nil
  ) throws(MonitorError) -> Monitor {
    let socket: UnixSocket
    do throws(SystemError) {
      socket = try UnixSocket(connectingTo: path)
    } catch {
      throw .cannotConnect(error)
    }
    let random: UInt64
    do throws(SystemError) {
      random = try Randomness.words().0
    } catch {
      throw .system(error)
    }
    // 2^53 is where JSON's numbers cease to be exact elsewhere.
    return try greeted(
      socket, deadline: deadline, signals: signals, firstID: random & ((1 << 52) - 1) + 1)
  }

  /// The same over a socket that is connected.
  public static func greeted(
    _ socket: consuming UnixSocket, deadline: Deadline, signals: Int32? = nil,
    firstID: UInt64 = 1
  ) throws(MonitorError) -> Monitor {
    var monitor = Monitor(socket, deadline, firstID)
    monitor.signals = signals
    try monitor.greet()
    return monitor
  }

  private init(_ socket: consuming UnixSocket, _ deadline: Deadline, _ firstID: UInt64) {
    self.socket = socket
    lastID = firstID - 1
    self.deadline = deadline
    lines = LineBuffer(maxLineBytes: Monitor.maxLineBytes)
  }

  private mutating func greet() throws(MonitorError) {
    let greeting = try receive("its greeting")
    guard let qmp = greeting.member("QMP"),
      let version = greeting.member("version", of: qmp),
      let qemu = greeting.member("qemu", of: version)
    else { throw .notQMP("what came first is no greeting") }
    let names: [StaticString] = ["major", "minor", "micro"]
    for (index, name) in names.enumerated() {
      guard let member = greeting.member(name, of: qemu), let number = greeting.unsigned(member)
      else { throw .notQMP("the greeting has no version") }
      if index > 0 { self.version.append(".") }
      self.version.append(number)
      if index == 0 { release.major = number }
      if index == 1 { release.minor = number }
    }
    if let member = greeting.member("package", of: version),
      let package = greeting.string(member), !package.isEmpty
    {
      self.version.append(" (")
      self.version.append(escaping: package, maxBytes: 128)
      self.version.append(")")
    }
    _ = try execute("qmp_capabilities")
  }

  /// A command's result.
  struct Reply {
    let document: JSONDocument
    /// The token of `return`.
    let result: Int
  }

  /// Runs a command and waits for its result.
  ///
  /// - Parameters:
  ///   - arguments: a JSON object.
  ///   - passed: a descriptor that goes along.
  mutating func execute(
    _ command: StaticString, arguments: PlainText? = nil, passing passed: Int32? = nil
  ) throws(MonitorError) -> Reply {
    lastID += 1
    var line = PlainText()
    line.append("{\"execute\":\"")
    line.append(command)
    line.append("\",\"id\":")
    line.append(lastID)
    if let arguments {
      line.append(",\"arguments\":")
      line.append(arguments)
    }
    line.append("}\r\n")
    try send(line.bytes, passing: passed, command)
    while true {
      let document = try receive(command)
      if note(event: document) { continue }
      let (result, error) = (document.member("return"), document.member("error"))
      if result == nil && error == nil {
        throw .notQMP("a line that is neither a reply nor an event")
      }
      // QEMU gives one of them (qmp-spec, "Commands Responses"): what has both is no success.
      if result != nil && error != nil { throw .notQMP("a reply with a result and an error") }
      // To a command that was given up, or to one of another client's.
      guard let id = document.member("id"), document.unsigned(id) == lastID else { continue }
      if let result { return Reply(document: document, result: result) }
      guard let error, let member = document.member("desc", of: error),
        let description = document.string(member)
      else { throw .notQMP("a reply that is neither a result nor an error") }
      throw .refused(command: command, description: description)
    }
  }

  /// To be waited for: readable when QEMU has said something.
  public var number: Int32 { socket.number }

  /// Takes the events that have come, when nothing is waited for; not so many that who sends without
  /// end keeps anybody here.
  public mutating func takeEvents() throws(MonitorError) {
    for _ in 0..<16 {
      // A late reply among them is nobody's any more.
      while let line = try lines.next() { _ = note(event: try Monitor.parse(line)) }
      if try !fill("events") { return }
    }
  }

  /// Takes what has come; false if nothing has.
  private mutating func fill(_ what: StaticString) throws(MonitorError) -> Bool {
    let count: Int?
    do throws(SystemError) {
      count = try lines.fill(from: &socket)
    } catch {
      throw Monitor.failure(error, what)
    }
    if count == 0 { throw .closed(what) }
    return count != nil
  }

  /// Waits for one event, whatever it is.
  mutating func awaitEvent(_ what: StaticString) throws(MonitorError) {
    // Or a reply that nobody waits for.
    _ = note(event: try receive(what))
  }

  /// True if it is an event; those that matter are kept.
  private mutating func note(event document: JSONDocument) -> Bool {
    guard let event = document.member("event") else { return false }
    if document.string(event, is: "RESUME") { hasResumed = true }
    if document.string(event, is: "MIGRATION"), let data = document.member("data"),
      let status = document.member("status", of: data)
    {
      if document.string(status, is: "completed") {
        migration = .completed
      } else if document.string(status, is: "failed") {
        migration = .failed
      } else {
        migration = .underway
      }
    }
    return true
  }

  private mutating func send(
    _ bytes: [UInt8], passing passed: Int32?, _ what: StaticString
  ) throws(MonitorError) {
    var done = 0
    while done < bytes.count {
      try wait(toWrite: true, what)
      do throws(SystemError) {
        done += try unsafe socket.send(
          bytes.span.bytes.extracting(done..<bytes.count), passing: done == 0 ? passed : nil)
      } catch {
        throw Monitor.failure(error, what)
      }
    }
  }

  /// The next line, as JSON.
  private mutating func receive(_ what: StaticString) throws(MonitorError) -> JSONDocument {
    while true {
      if deadline.hasPassed {
        lateSteps += 1
        if lateSteps > Monitor.maxLateSteps { throw .deadline(what) }
      }
      if let line = try lines.next() { return try Monitor.parse(line) }
      try wait(toWrite: false, what)
      _ = try fill(what)
    }
  }

  private static func parse(_ line: [UInt8]) throws(MonitorError) -> JSONDocument {
    let document: JSONDocument
    do throws(JSONError) {
      document = try JSONDocument(parsing: line)
    } catch {
      throw .notJSON(error)
    }
    guard document.kind(0) == .object else { throw .notQMP("a line that is no JSON object") }
    return document
  }

  private mutating func wait(toWrite: Bool, _ what: StaticString) throws(MonitorError) {
    let readiness: UnixSocket.Readiness
    do throws(SystemError) {
      readiness = try feed.wait(
        for: socket.number, toWrite: toWrite, until: deadline, signals: signals)
    } catch {
      throw .system(error)
    }
    switch readiness {
    case .ready: return
    case .timedOut: throw .deadline(what)
    case .interrupted: throw .interrupted
    }
  }

  private static func failure(_ error: SystemError, _ what: StaticString) -> MonitorError {
    error.meansClosed ? .closed(what) : .system(error)
  }
}
