import SaveDisk

@testable import QEMUMonitor

/// Lines in turn through a relay: those that begin with ">" come from the client, the others from
/// QEMU; "?" has the relay ask QEMU. libyajl and json-c must see in what passes exactly what was seen here.
@c(stubsave_fuzz_relay)
public func fuzzRelay(_ bytes: UnsafePointer<UInt8>?, _ count: Int) {
  var relay = QMPRelay(firstID: 1)
  /// Ids of the commands that were sent, as their client wrote them.
  var sent: [[UInt8]?] = []
  for line in unsafe Input(bytes, count).array.split(separator: 0x0A) {
    if line.first == UInt8(ascii: ">") {
      if let id = send([UInt8](line.dropFirst()), through: &relay) { sent.append(id) }
    } else if line.first == UInt8(ascii: "?") {
      if let line = relay.ask() {
        require(members(of: line) == ["execute", "id"], "not what QEMU takes")
      }
    } else if line.first == UInt8(ascii: "!") {
      if let line = relay.giveUpSave(PlainText()) { _ = members(of: line) }
    } else {
      receive([UInt8](line), through: &relay, sent)
    }
  }
}

/// - Returns: nil if it was not sent; else its id, nil if it has none.
private func send(_ line: [UInt8], through relay: inout QMPRelay) -> [UInt8]?? {
  guard let command = QMPRelay.command(line) else { return nil }
  guard let theirs = YajlReading.read(line) else { finding("libyajl refuses a command") }
  require(theirs.names.contains([UInt8]("execute".utf8)), "no command to libyajl")
  require((command.id != nil) == theirs.names.contains([UInt8]("id".utf8)), "another id")
  guard let passed = relay.pass(command) else { return nil }
  let names = members(of: passed)
  require(names.first == "execute" && names.last == "id", "not what QEMU takes")
  return .some(command.id)
}

private func receive(_ line: [UInt8], through relay: inout QMPRelay, _ sent: [[UInt8]?]) {
  guard let message = relay.message(line) else { return }
  guard let theirs = YajlReading.read(line) else { finding("libyajl refuses what passes") }
  let seen = Set(theirs.names.map { String(decoding: $0, as: UTF8.self) })
  if case .blockers(let blockers) = message { return check(blockers) }
  guard let line = message.line else { finding("nothing passes") }
  let names = members(of: line)
  require(!line.contains(UInt8(ascii: "\0")), "a NUL")
  switch message {
  case .blockers: break
  case .other:
    require(names == ["QMP"] || names.first == "event", "neither greeting nor event")
    require(!names.contains("id"), "an id where there is none")
    require(seen.contains(names[0]), "not what it was")
  case .reply(let command, let text, let isError):
    require(names.first == (isError ? "error" : "return"), "another kind")
    require(seen.contains(names[0]) && seen.contains("id"), "not what it was")
    require(!seen.contains("event") && !seen.contains("QMP"), "two kinds at once")
    require(names.count == (command.id == nil ? 1 : 2), "more than kind and id")
    if let id = command.id {
      let end = [UInt8](#","id":"#.utf8) + id + [UInt8(ascii: "}"), 0x0D, 0x0A]
      require(names[1] == "id" && text.suffix(end.count).elementsEqual(end), "another id")
    }
    require(sent.contains(command.id), "an answer to nobody")
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
