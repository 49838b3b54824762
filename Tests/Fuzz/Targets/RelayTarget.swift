import SaveDisk

@testable import QEMUMonitor

/// Lines in turn through a relay: those that begin with ">" come from a client, the others from
/// QEMU; "?" has the relay ask QEMU, "!" gives a save up, "-" loses a client, "~" loses QEMU. libyajl
/// and json-c must see in what passes exactly what was seen here.
@c(stubsave_fuzz_relay)
public func fuzzRelay(_ bytes: UnsafePointer<UInt8>?, _ count: Int) {
  var relay = QMPRelay(firstID: 1)
  /// Ids of the commands that were sent, as their client wrote them, and the client.
  var sent: [(id: [UInt8]?, client: UInt64)] = []
  var client: UInt64 = 1
  for line in unsafe Input(bytes, count).array.split(separator: 0x0A) {
    if line.first == UInt8(ascii: ">") {
      if let id = send([UInt8](line.dropFirst()), of: client, through: &relay) {
        sent.append((id, client))
      }
    } else if line.first == UInt8(ascii: "?") {
      let errand = line.dropFirst().first == UInt8(ascii: "c") ? QMPRelay.Errand.resume : .negotiate
      if let question = relay.ask(line.count == 1 ? .askBlockers : errand) {
        require(members(of: question.line) == ["execute", "id"], "not what QEMU takes")
      }
    } else if line.first == UInt8(ascii: "!") {
      if let reply = relay.giveUpSave(PlainText()) { _ = members(of: reply.line) }
    } else if line.first == UInt8(ascii: "-") {
      relay.forget(client)
      sent.removeAll { $0.client == client }
      client += 1
    } else if line.first == UInt8(ascii: "~") {
      for reply in relay.lose(PlainText()) { _ = members(of: reply.line) }
      require(!relay.isReady && !relay.isSaving, "something is under way")
    } else {
      receive([UInt8](line), through: &relay, sent)
    }
  }
}

/// - Returns: nil if it was not sent; else its id, nil if it has none.
private func send(
  _ line: [UInt8], of client: UInt64, through relay: inout QMPRelay
) -> [UInt8]?? {
  guard let command = QMPRelay.command(line) else { return nil }
  guard let theirs = YajlReading.read(line) else { finding("libyajl refuses a command") }
  require(theirs.names.contains([UInt8]("execute".utf8)), "no command to libyajl")
  require((command.id != nil) == theirs.names.contains([UInt8]("id".utf8)), "another id")
  var negotiation = QMPNegotiation()
  if let answer = negotiation.answer(command) { _ = members(of: answer) }
  guard let passed = relay.pass(command, of: client) else { return nil }
  let names = members(of: passed)
  require(names.first == "execute" && names.last == "id", "not what QEMU takes")
  return .some(command.id)
}

private func receive(
  _ line: [UInt8], through relay: inout QMPRelay, _ sent: [(id: [UInt8]?, client: UInt64)]
) {
  let messages = relay.messages(line)
  if messages.isEmpty { return }
  guard let theirs = YajlReading.read(line) else { finding("libyajl refuses what passes") }
  let seen = Set(theirs.names.map { String(decoding: $0, as: UTF8.self) })
  for (number, message) in messages.enumerated() {
    check(message, relay, sent, isLast: number == messages.count - 1, seen)
  }
}

private func check(
  _ message: QMPRelay.Message, _ relay: QMPRelay, _ sent: [(id: [UInt8]?, client: UInt64)],
  isLast: Bool, _ seen: Set<String>
) {
  switch message {
  case .blockers(_, let blockers): check(blockers)
  case .negotiated(let words), .resumed(let words):
    require(words?.bytes.allSatisfy { $0 >= 0x20 && $0 < 0x7F } ?? true, "not printable")
  case .greeting:
    guard let greeting = relay.greeting else { finding("no greeting") }
    require(members(of: greeting) == ["QMP"] && seen.contains("QMP"), "no greeting")
  case .event(_, let line):
    let names = members(of: line)
    require(relay.isReady, "an event before its time")
    require(names.first == "event" && !names.contains("id"), "no event")
    require(seen.contains("event"), "not what it was")
  case .reply(let reply):
    let names = members(of: reply.line)
    require(names.first == (reply.isError ? "error" : "return"), "another kind")
    require(seen.contains("id") && !seen.contains("event") && !seen.contains("QMP"), "two kinds")
    // Those that are passed over have an error in QEMU's place.
    require(isLast ? seen.contains(names[0]) : reply.isError, "not what it was")
    require(names.count == (reply.command.id == nil ? 1 : 2), "more than kind and id")
    if let id = reply.command.id {
      let end = [UInt8](#","id":"#.utf8) + id + [UInt8(ascii: "}"), 0x0D, 0x0A]
      require(
        names[1] == "id" && reply.line.suffix(end.count).elementsEqual(end), "another id")
    }
    guard let client = reply.client else { return }
    require(
      sent.contains { $0.id == reply.command.id && $0.client == client }, "an answer to nobody")
  }
}

/// Bounded, and printable.
private func check(_ blockers: QMPRelay.Blockers) {
  let text: PlainText
  switch blockers {
  case .answered(.some(let reasons)): text = reasons
  case .refused(let words): text = words
  case .answered(.none), .nonsense: return
  }
  require(text.bytes.count <= 64 << 10, "too many words")
  require(text.bytes.allSatisfy { $0 >= 0x20 && $0 < 0x7F }, "not printable")
}

/// The names of a line that has been spelled here, as libyajl sees them. It is one line, and spelled
/// anew it is the same.
private func members(of line: [UInt8]) -> [String] {
  require(
    line.suffix(2) == [0x0D, 0x0A] && !line.dropLast(2).contains { $0 == 0x0A || $0 == 0x0D },
    "not one line")
  let text = [UInt8](line.dropLast(2))
  guard let theirs = YajlReading.read(text) else { finding("libyajl refuses our spelling") }
  require(theirs.text == text, "libyajl sees something else in our spelling")
  guard let document = try? JSONDocument(parsing: text), !document.hasNUL else {
    finding("our own spelling is refused")
  }
  compareWithJSONC(document, text)
  return theirs.names.map { String(decoding: $0, as: UTF8.self) }
}
