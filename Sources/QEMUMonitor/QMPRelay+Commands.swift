import SaveDisk

extension QMPRelay {
  /// What a command is about.
  public enum Kind: Sendable {
    /// `qmp_capabilities`, with nothing that is not there.
    case capabilities
    /// `qmp_capabilities` that wants what the relay's greeting does not offer.
    case otherCapabilities
    /// `xen-set-global-dirty-log`, on: libxl begins to save or migrate, and the guest still runs.
    case logDirtyOn
    /// The same, off: that has ended, well or not.
    case logDirtyOff
    /// `stop`: the guest is about to stand.
    case stop
    /// `cont`: it is to go on.
    case cont
    /// `xen-save-devices-state`.
    case save
    case other
  }

  /// A line from a client.
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
    if document.string(name, is: "cont") { return .cont }
    if document.string(name, is: "qmp_capabilities") {
      return wantsNothing(document) ? .capabilities : .otherCapabilities
    }
    if document.string(name, is: "xen-set-global-dirty-log"),
      let arguments = document.member("arguments"),
      let member = document.member("enable", of: arguments),
      let isOn = document.boolean(member)
    {
      return isOn ? .logDirtyOn : .logDirtyOff
    }
    return .other
  }

  /// No argument, or an empty list of capabilities.
  private static func wantsNothing(_ document: JSONDocument) -> Bool {
    guard let arguments = document.member("arguments") else { return true }
    let text = document.encoded(arguments)
    return text.elementsEqual("{}".utf8) || text.elementsEqual(#"{"enable":[]}"#.utf8)
  }

  // MARK: Errors of the relay's own

  /// An error for the client, in QEMU's place.
  ///
  /// - Parameter command: nil for a line that is none.
  public static func error(_ command: Command?, _ text: PlainText) -> [UInt8] {
    error(command, class: "GenericError", text)
  }

  static func error(
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

  /// - Parameter line: of an object, without its closing brace.
  static func end(_ line: [UInt8], _ id: [UInt8]?) -> [UInt8] {
    // As QEMU ends its lines: libxl looks for both bytes (libxl_qmp.c, qmp_ev_get_next_msg).
    line + (id.map { [UInt8](#","id":"#.utf8) + $0 } ?? []) + [UInt8(ascii: "}"), 0x0D, 0x0A]
  }
}

/// What QEMU's monitor does for a client before its first command (qmp-spec, "Capabilities
/// Negotiation"): done here, for QEMU does it once for the relay.
public struct QMPNegotiation: Sendable {
  /// Commands go to QEMU, and events come.
  public private(set) var isDone = false

  public init() {}

  /// - Returns: the answer; nil if the command is QEMU's to answer.
  public mutating func answer(_ command: QMPRelay.Command) -> [UInt8]? {
    var text = PlainText()
    switch (command.kind, isDone) {
    case (.capabilities, false):
      isDone = true
      return QMPRelay.end([UInt8](#"{"return":{}"#.utf8), command.id)
    case (.otherCapabilities, false):
      text.append("stubsave: a capability that the greeting has not offered")
      return QMPRelay.error(command, text)
    case (.capabilities, true), (.otherCapabilities, true):
      text.append("Capabilities negotiation is already complete, command ignored")
    case (_, false): text.append("Expecting capabilities negotiation with 'qmp_capabilities'")
    case (_, true): return nil
    }
    return QMPRelay.error(command, class: "CommandNotFound", text)
  }
}
