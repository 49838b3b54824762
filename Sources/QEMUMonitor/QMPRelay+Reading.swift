import SaveDisk

/// From QEMU.
extension QMPRelay {
  private static let maxDescriptionBytes = 1024

  /// - Parameter line: without its end.
  /// - Returns: in the order in which they are to be told; none if nothing of it is to pass.
  public mutating func messages(_ line: [UInt8]) -> [Message] {
    guard let document = try? JSONDocument(parsing: line), document.kind(0) == .object,
      !document.hasNUL
    else { return [] }
    if let greeting = document.member("QMP") { return greet(document, greeting) ? [.greeting] : [] }
    if let event = document.member("event") {
      // Before QEMU has negotiated it says none.
      guard isReady, document.kind(event) == .string else { return [] }
      return [.event(QMPRelay.kind(document, event), QMPRelay.event(document, event))]
    }
    return replies(document)
  }

  private mutating func greet(_ document: JSONDocument, _ greeting: Int) -> Bool {
    guard !isGreeted, let version = document.member("version", of: greeting),
      document.kind(version) == .object
    else { return false }
    let text = document.encoded(version)
    if text.count > QMPRelay.maxGreetingBytes { return false }
    isGreeted = true
    self.greeting = QMPRelay.end(
      [UInt8](#"{"QMP":{"version":"#.utf8) + text + [UInt8](#","capabilities":[]}"#.utf8), nil)
    return true
  }

  /// QEMU answers in the order of the commands (qmp-spec, without "oob"): those before the one that it
  /// answers it never will.
  private mutating func replies(_ document: JSONDocument) -> [Message] {
    let result = document.member("return")
    let error = document.member("error")
    guard (result == nil) != (error == nil),
      let id = document.member("id").flatMap(document.unsigned),
      let index = outstanding.firstIndex(where: { $0.id == id })
    else { return [] }
    var text = PlainText()
    text.append("stubsave: QEMU has answered what was said after this, and not this")
    let unanswered = outstanding[..<index].compactMap { passedOver($0, text) }
    let answered = outstanding[index]
    outstanding.removeFirst(index + 1)
    return unanswered + [message(document, answered, result, error)].compactMap { $0 }
  }

  private func passedOver(_ outstanding: Outstanding, _ text: PlainText) -> Message? {
    switch outstanding.sender {
    case .client, .nobody: outstanding.reply(text).map { .reply($0) }
    case .relay(.negotiate): .negotiated(text)
    case .relay(.askBlockers): .blockers(outstanding.id, .nonsense)
    case .relay(.resume): .resumed(text)
    }
  }

  private mutating func message(
    _ document: JSONDocument, _ answered: Outstanding, _ result: Int?, _ error: Int?
  ) -> Message? {
    if case .relay(let errand) = answered.sender {
      let words = result == nil ? QMPRelay.description(document, error) : nil
      switch errand {
      case .negotiate:
        isReady = result != nil
        return .negotiated(words)
      case .askBlockers:
        return .blockers(answered.id, QMPRelay.blockers(document, result, error))
      case .resume: return .resumed(words)
      }
    }
    guard let command = answered.command, !answered.isAnswered else { return nil }
    guard let result else {
      let line = QMPRelay.error(
        command, class: QMPRelay.errorClass(document, error), QMPRelay.description(document, error))
      return .reply(
        Reply(client: answered.client, command: command, line: line, isError: true))
    }
    let line = [UInt8](#"{"return":"#.utf8) + document.encoded(result)
    return .reply(
      Reply(
        client: answered.client, command: command, line: QMPRelay.end(line, command.id),
        isError: false))
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

  private static func kind(_ document: JSONDocument, _ event: Int) -> Event {
    if document.string(event, is: "STOP") { return .stop }
    return document.string(event, is: "RESUME") ? .resume : .other
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
}
