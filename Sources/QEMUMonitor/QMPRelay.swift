import SaveDisk
import SystemIO

/// What passes between a QMP client that is trusted, libxl, and a QEMU in a stubdomain that is not.
///
/// Every line from QEMU is read strictly and spelled anew, so that the client can see nothing else
/// in it than was seen here: a reply passes only as the answer to the oldest command that has none,
/// once, with nothing but its result and that command's id; an event with its name, data and time.
/// All else is dropped. QEMU sees ids of the relay's own: libxl begins with the same one in each
/// connection, and QEMU 7.2 answers what it had under way for a client that has gone to the next.
/// What the client's commands are about is told, so that whoever relays can hold them, or their
/// replies.
public struct QMPRelay {
  /// What a command is about.
  public enum Kind: Sendable {
    /// `xen-set-global-dirty-log`, on: libxl begins to save or migrate, and the guest still runs.
    case logDirtyOn
    /// The same, off: that has ended, well or not.
    case logDirtyOff
    /// `stop`: the guest is about to stand.
    case stop
    /// `xen-save-devices-state`.
    case save
    case other
  }

  /// What QEMU says to a question of the relay's own.
  public enum Blockers: Sendable {
    case answered(SaveBlockers)
    /// An error; QEMU's own words, printable.
    case refused(PlainText)
    /// Nothing that QEMU answers.
    case nonsense
  }

  /// A line from the client.
  public struct Command: Sendable {
    public let kind: Kind
    /// The client's own, as JSON; nil if it has none.
    let id: [UInt8]?
    /// As JSON; nil if it has none.
    let arguments: [UInt8]?
    /// As JSON.
    let name: [UInt8]

    /// For QEMU, with its end.
    func line(_ id: UInt64) -> [UInt8] {
      var line = [UInt8](#"{"execute":"#.utf8) + name
      if let arguments { line += [UInt8](#","arguments":"#.utf8) + arguments }
      var number = PlainText()
      number.append(id)
      return QMPRelay.end(line, number.bytes)
    }
  }

  private struct Outstanding {
    /// Nil is a question of the relay's own.
    let command: Command?
    let id: UInt64
    /// Somebody else has, in QEMU's place.
    var isAnswered = false
  }

  /// A line from QEMU that may pass.
  public enum Message: Sendable {
    /// The greeting, or an event.
    case other([UInt8])
    case reply(Command, [UInt8], isError: Bool)
    /// The answer to `ask`.
    case blockers(Blockers)

    /// For the client, with its end; nil if it is not for it.
    public var line: [UInt8]? {
      switch self {
      case .other(let line), .reply(_, let line, _): line
      case .blockers: nil
      }
    }
  }

  /// libxl sends one at a time.
  public static let maxOutstanding = 64
  private static let maxDescriptionBytes = 1024

  /// Sent to QEMU, without an answer so far; the oldest first.
  private var outstanding: [Outstanding] = []
  /// The greeting has passed.
  public private(set) var isGreeted = false
  private var nextID: UInt64

  /// - Parameter firstID: of commands, another one for each connection.
  public init(firstID: UInt64) { nextID = firstID }

  /// With an id that nobody can guess.
  public init() throws(SystemError) {
    // Fits into what QEMU reads as a number that is no fraction.
    self.init(firstID: try Randomness.words().0 >> 2)
  }

  // MARK: From the client

  /// - Parameter line: without its end.
  /// - Returns: nil if it is no command; nothing of it is to go to QEMU.
  public static func command(_ line: [UInt8]) -> Command? {
    guard let document = try? JSONDocument(parsing: line), document.kind(0) == .object,
      !document.hasNUL, let name = document.member("execute"), document.kind(name) == .string
    else { return nil }
    return Command(
      kind: kind(document, name), id: document.member("id").map(document.encoded),
      arguments: document.member("arguments").map(document.encoded), name: document.encoded(name))
  }

  private static func kind(_ document: JSONDocument, _ name: Int) -> Kind {
    if document.string(name, is: "xen-save-devices-state") { return .save }
    if document.string(name, is: "stop") { return .stop }
    if document.string(name, is: "xen-set-global-dirty-log"),
      let arguments = document.member("arguments"),
      let member = document.member("enable", of: arguments),
      let isOn = document.boolean(member)
    {
      return isOn ? .logDirtyOn : .logDirtyOff
    }
    return .other
  }

  /// The command goes to QEMU, and its reply is expected.
  ///
  /// - Returns: for QEMU, with its end; nil if there are too many already.
  public mutating func pass(_ command: Command) -> [UInt8]? {
    if outstanding.count >= QMPRelay.maxOutstanding { return nil }
    outstanding.append(Outstanding(command: command, id: nextID))
    defer { nextID &+= 1 }
    return command.line(nextID)
  }

  /// QEMU is asked whether it can be saved, by the relay and not by the client.
  ///
  /// - Returns: for QEMU, with its end; nil if there are too many already.
  public mutating func ask() -> [UInt8]? {
    if outstanding.count >= QMPRelay.maxOutstanding { return nil }
    outstanding.append(Outstanding(command: nil, id: nextID))
    defer { nextID &+= 1 }
    return Command(
      kind: .other, id: nil, arguments: nil, name: [UInt8](#""query-migrate""#.utf8)
    ).line(nextID)
  }

  /// An error in QEMU's place for a save that it has not answered; what it still says of it is
  /// dropped. Nil if it has none under way.
  public mutating func giveUpSave(_ text: PlainText) -> [UInt8]? {
    guard let index = outstanding.firstIndex(where: { $0.command?.kind == .save && !$0.isAnswered })
    else { return nil }
    outstanding[index].isAnswered = true
    return QMPRelay.error(outstanding[index].command, text)
  }

  /// Whether QEMU owes no reply.
  public var isIdle: Bool { outstanding.isEmpty }

  /// Whether QEMU has been told to save, and nobody has answered.
  public var isSaving: Bool {
    outstanding.contains { $0.command?.kind == .save && !$0.isAnswered }
  }

  /// An error for the client, in QEMU's place.
  ///
  /// - Parameter command: nil for a line that is none.
  public static func error(_ command: Command?, _ text: PlainText) -> [UInt8] {
    error(command, class: "GenericError", text)
  }

  private static func error(
    _ command: Command?, class name: StaticString, _ text: PlainText
  ) -> [UInt8] {
    var head = PlainText()
    head.append("{\"error\":{\"class\":\"")
    head.append(name)
    head.append("\",\"desc\":")
    var line = head.bytes
    JSONText.append(string: text.bytes, to: &line)
    return end(line + [UInt8(ascii: "}")], command?.id)
  }

  // MARK: From QEMU

  /// - Parameter line: without its end.
  /// - Returns: nil if it is not to pass.
  public mutating func message(_ line: [UInt8]) -> Message? {
    guard let document = try? JSONDocument(parsing: line), document.kind(0) == .object,
      !document.hasNUL
    else { return nil }
    if let greeting = document.member("QMP") {
      if isGreeted { return nil }
      isGreeted = true
      return .other(QMPRelay.end([UInt8](#"{"QMP":"#.utf8) + document.encoded(greeting), nil))
    }
    if let event = document.member("event") {
      return document.kind(event) == .string ? .other(QMPRelay.event(document, event)) : nil
    }
    return reply(document)
  }

  private mutating func reply(_ document: JSONDocument) -> Message? {
    let result = document.member("return")
    let error = document.member("error")
    guard (result == nil) != (error == nil), let oldest = outstanding.first,
      document.member("id").flatMap(document.unsigned) == oldest.id
    else { return nil }
    outstanding.removeFirst()
    if oldest.isAnswered { return nil }
    guard let command = oldest.command else {
      return .blockers(QMPRelay.blockers(document, result, error))
    }
    if let result {
      let line = [UInt8](#"{"return":"#.utf8) + document.encoded(result)
      return .reply(command, QMPRelay.end(line, command.id), isError: false)
    }
    let line = QMPRelay.error(
      command, class: QMPRelay.errorClass(document, error), QMPRelay.description(document, error))
    return .reply(command, line, isError: true)
  }

  private static func blockers(
    _ document: JSONDocument, _ result: Int?, _ error: Int?
  ) -> Blockers {
    guard let result else { return .refused(description(document, error)) }
    return SaveBlockers(document, result).map { .answered($0) } ?? .nonsense
  }

  /// All that there are (qapi/error.json).
  private static let errorClasses: [StaticString] = [
    "CommandNotFound", "DeviceNotActive", "DeviceNotFound", "KVMMissingCap",
  ]

  private static func errorClass(_ document: JSONDocument, _ error: Int?) -> StaticString {
    guard let error, let member = document.member("class", of: error) else { return "GenericError" }
    return errorClasses.first { document.string(member, is: $0) } ?? "GenericError"
  }

  /// QEMU's own words, bounded and plain.
  private static func description(_ document: JSONDocument, _ error: Int?) -> PlainText {
    var text = PlainText()
    if let error, let member = document.member("desc", of: error),
      let description = document.string(member)
    {
      text.append(escaping: description, maxBytes: maxDescriptionBytes)
    } else {
      text.append("QEMU gave an error without a description")
    }
    return text
  }

  private static func event(_ document: JSONDocument, _ event: Int) -> [UInt8] {
    var line = [UInt8](#"{"event":"#.utf8) + document.encoded(event)
    if let data = document.member("data") {
      line += [UInt8](#","data":"#.utf8) + document.encoded(data)
    }
    if let time = document.member("timestamp") {
      line += [UInt8](#","timestamp":"#.utf8) + document.encoded(time)
    }
    return end(line, nil)
  }

  /// - Parameter line: of an object, without its closing brace.
  fileprivate static func end(_ line: [UInt8], _ id: [UInt8]?) -> [UInt8] {
    // As QEMU ends its lines: libxl looks for both bytes (libxl_qmp.c, qmp_ev_get_next_msg).
    line + (id.map { [UInt8](#","id":"#.utf8) + $0 } ?? []) + [UInt8(ascii: "}"), 0x0D, 0x0A]
  }
}
