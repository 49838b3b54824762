import SaveDisk
import TestSupport
import Testing

@testable import QEMUMonitor

// Invariants:
// - what passes is spelled anew: the client can see in it only what was seen here;
// - a reply passes only for the oldest command without one, once, with that command's id;
// - whatever else QEMU says is dropped, and nothing traps.

@Suite struct QMPRelayTests {
  private static func command(_ text: String) throws -> QMPRelay.Command {
    try #require(QMPRelay.command([UInt8](text.utf8)))
  }

  private static func text(_ line: [UInt8]) -> String { String(decoding: line, as: UTF8.self) }

  /// What passes of a line, after `commands` have been sent.
  private static func passed(_ line: String, after commands: [String]) throws -> String? {
    var relay = QMPRelay(firstID: 7)
    for command in commands { #expect(relay.pass(try Self.command(command)) != nil) }
    return relay.message([UInt8](line.utf8))?.line.map(Self.text)
  }

  private static let save =
    #"{"execute":"xen-save-devices-state","id":7,"arguments":{"live":false,"filename":"/dev/fdset/1"}}"#

  @Test(arguments: [
    (save, QMPRelay.Kind.save),
    (#"{"\u0065xecute":"xen-save-devices-state"}"#, .save),
    (#"{"execute":"xen-set-global-dirty-log","arguments":{"enable":true},"id":1}"#, .logDirtyOn),
    (#"{"execute":"xen-set-global-dirty-log","arguments":{"enable":false}}"#, .logDirtyOff),
    (#"{"execute":"xen-set-global-dirty-log"}"#, .other),
    (#"{"execute":"stop","id":"xen-save-devices-state"}"#, .stop),
    (#"{"execute":"cont","id":"stop"}"#, .other),
  ])
  func `what a command is about`(text: String, kind: QMPRelay.Kind) throws {
    #expect(try Self.command(text).kind == kind)
  }

  @Test(arguments: ["", "{}", "[]", "1", "{\"execute\":1}", "{\"exec-oob\":\"stop\"}", "{", "x"])
  func `what is no command`(text: String) {
    #expect(QMPRelay.command([UInt8](text.utf8)) == nil)
  }

  @Test func `a command is spelled anew`() throws {
    var relay = QMPRelay(firstID: 9)
    let text =
      " {\"execute\" : \"st\\u006fp\", \"id\":  [1, {\"a\": null}], \"x\": 1, \"arguments\" : {} }"
    let line = relay.pass(try Self.command(text))
    #expect(Self.text(line ?? []) == #"{"execute":"stop","arguments":{},"id":9}"# + "\r\n")
    let reply = relay.message([UInt8](#"{"return":{},"id":9}"#.utf8))
    #expect(Self.text(reply?.line ?? []) == #"{"return":{},"id":[1,{"a":null}]}"# + "\r\n")
  }

  @Test(arguments: [
    (#"{"return":{},"id":7}"#, #"{"return":{},"id":7}"#),
    (
      #"{"id":7,"return":{"a":[1,"\u00e9\"\\\/"]},"x":1}"#,
      #"{"return":{"a":[1,"\u00e9\"\\/"]},"id":7}"#
    ),
    (#"{"\u0069d":7,"r\u0065turn":{}}"#, #"{"return":{},"id":7}"#),
    (
      #"{"error":{"class":"CommandNotFound","desc":"no\nsuch \u2022"},"id":7}"#,
      #"{"error":{"class":"CommandNotFound","desc":"no\\x0asuch \\xe2\\x80\\xa2"},"id":7}"#
    ),
    (
      #"{"error":{"class":"Other"},"id":7}"#,
      #"{"error":{"class":"GenericError","desc":"QEMU gave an error without a description"},"id":7}"#
    ),
    (
      #"{"error":1,"id":7}"#,
      #"{"error":{"class":"GenericError","desc":"QEMU gave an error without a description"},"id":7}"#
    ),
    (
      #"{"timestamp":{"seconds":1},"event":"STOP","id":7,"return":{},"data":{}}"#,
      #"{"event":"STOP","data":{},"timestamp":{"seconds":1}}"#
    ),
    (#"{"QMP":{"version":{}},"return":{},"id":7}"#, #"{"QMP":{"version":{}}}"#),
  ])
  func `what passes`(line: String, wanted: String) throws {
    #expect(try Self.passed(line, after: [Self.save]) == wanted + "\r\n")
  }

  @Test(arguments: [
    #"{"return":{},"id":8}"#, #"{"return":{},"id":"7"}"#, #"{"return":{},"id":7.0}"#,
    #"{"return":{}}"#,
    #"{"return":{},"id":7,"id":7}"#, #"{"return":{},"id":7,"\u0069d":7}"#,
    #"{"return":{},"error":{},"id":7}"#, #"{"id":7}"#, "{}", "[]", "7", "", "{",
    #"{"return":{},"id\u0000":7}"#, #"{"return":"\u0000","id":7}"#, #"{"event":1}"#,
    #"{"return":{},"id":7} {"return":{},"id":7}"#,
  ])
  func `what is dropped`(line: String) throws {
    #expect(try Self.passed(line, after: [Self.save]) == nil)
  }

  @Test func `a reply passes once, and in order`() throws {
    var relay = QMPRelay(firstID: 1)
    let early = [UInt8](#"{"return":{},"id":1}"#.utf8)
    #expect(relay.message(early) == nil)
    for number in 1...2 {
      #expect(relay.pass(try Self.command(#"{"execute":"stop","id":\#(number)}"#)) != nil)
    }
    #expect(relay.message([UInt8](#"{"return":{},"id":2}"#.utf8)) == nil)
    #expect(relay.message(early) != nil)
    #expect(relay.message(early) == nil)
    #expect(relay.message([UInt8](#"{"return":{},"id":2}"#.utf8)) != nil)
  }

  @Test func `one greeting`() {
    var relay = QMPRelay(firstID: 1)
    let greeting = [UInt8](#"{"QMP":{}}"#.utf8)
    #expect(relay.message(greeting) != nil)
    #expect(relay.message(greeting) == nil)
  }

  @Test func `commands without a reply are bounded`() throws {
    var relay = QMPRelay(firstID: 1)
    let command = try Self.command(Self.save)
    for _ in 0..<QMPRelay.maxOutstanding { #expect(relay.pass(command) != nil) }
    #expect(relay.pass(command) == nil)
  }

  @Test func `a save that is given up`() throws {
    var relay = QMPRelay(firstID: 7)
    var text = PlainText()
    text.append("late")
    #expect(relay.giveUpSave(text) == nil)
    #expect(relay.pass(try Self.command(Self.save)) != nil)
    #expect(relay.isSaving)
    let error = relay.giveUpSave(text)
    #expect(
      Self.text(error ?? []) == #"{"error":{"class":"GenericError","desc":"late"},"id":7}"# + "\r\n"
    )
    #expect(!relay.isSaving)
    #expect(relay.giveUpSave(text) == nil)
    // What QEMU says of it then is nobody's; what follows is answered.
    #expect(relay.pass(try Self.command(#"{"execute":"cont","id":"c"}"#)) != nil)
    #expect(relay.message([UInt8](#"{"return":{},"id":8}"#.utf8)) == nil)
    #expect(relay.message([UInt8](#"{"return":{},"id":7}"#.utf8)) == nil)
    let reply = relay.message([UInt8](#"{"return":{},"id":8}"#.utf8))
    #expect(Self.text(reply?.line ?? []) == #"{"return":{},"id":"c"}"# + "\r\n")
  }

  @Test(arguments: [
    (#"{"return":{},"id":7}"#, "none"), (#"{"return":{"blocked-reasons":[]},"id":7}"#, "none"),
    (#"{"return":{"status":"none"},"id":7}"#, "none"),
    (#"{"return":{"blocked-reasons":["a: b"]},"id":7}"#, "a: b"),
    (#"{"return":{"blocked-reasons":["a","\u001b[31m\\"]},"id":7}"#, #"a; \x1b[31m\x5c"#),
    (#"{"error":{"class":"CommandNotFound","desc":"no"},"id":7}"#, "refused no"),
    (#"{"return":{"blocked-reasons":"a"},"id":7}"#, "nonsense"),
    (#"{"return":{"blocked-reasons":[1]},"id":7}"#, "nonsense"),
    (#"{"return":[],"id":7}"#, "nonsense"), (#"{"return":{},"id":8}"#, nil),
  ])
  func `a question of the relay's own`(line: String, wanted: String?) throws {
    var relay = QMPRelay(firstID: 7)
    #expect(Self.text(relay.ask() ?? []) == #"{"execute":"query-migrate","id":7}"# + "\r\n")
    #expect(!relay.isIdle && !relay.isSaving)
    // Behind it, of the client's.
    #expect(relay.pass(try Self.command(#"{"execute":"stop","id":1}"#)) != nil)
    #expect(relay.message([UInt8](#"{"return":{},"id":8}"#.utf8)) == nil)
    let message = relay.message([UInt8](line.utf8))
    #expect(message?.line == nil)
    let found: String?
    switch message {
    case .blockers(.answered(.none)): found = "none"
    case .blockers(.answered(.some(let reasons))): found = Self.text(reasons.bytes)
    case .blockers(.refused(let text)): found = "refused " + Self.text(text.bytes)
    case .blockers(.nonsense): found = "nonsense"
    default: found = nil
    }
    #expect(found == wanted)
    if wanted == nil { return }
    #expect(relay.message([UInt8](line.utf8)) == nil)
    let reply = relay.message([UInt8](#"{"return":{},"id":8}"#.utf8))
    #expect(Self.text(reply?.line ?? []) == #"{"return":{},"id":1}"# + "\r\n")
  }

  @Test func `reasons are bounded`() throws {
    var relay = QMPRelay(firstID: 7)
    _ = relay.ask()
    let list = [String](repeating: "\"" + String(repeating: "x", count: 600) + "\"", count: 40)
    let line = #"{"return":{"blocked-reasons":["# + list.joined(separator: ",") + #"]},"id":7}"#
    guard case .blockers(.answered(.some(let text)))? = relay.message([UInt8](line.utf8)) else {
      Issue.record("no reasons")
      return
    }
    #expect(text.bytes.count < 17 * 520 && text.bytes.suffix(5).elementsEqual("; ...".utf8))
  }

  @Test func `an error in QEMU's place`() throws {
    var text = PlainText()
    text.append("no \"state\"")
    #expect(
      Self.text(QMPRelay.error(try Self.command(Self.save), text))
        == #"{"error":{"class":"GenericError","desc":"no \"state\""},"id":7}"# + "\r\n")
    #expect(
      Self.text(QMPRelay.error(nil, text))
        == #"{"error":{"class":"GenericError","desc":"no \"state\""}}"# + "\r\n")
  }

  /// Every line with one byte changed: nothing traps, and what passes is JSON again, of one kind.
  @Test func `one byte changed`() throws {
    let lines = [#"{"return":{"a":[1,"x"]},"id":7}"#, #"{"event":"STOP","data":{}}"#]
    for line in lines {
      for offset in 0..<line.utf8.count {
        for byte in UInt8.min...UInt8.max {
          var bytes = [UInt8](line.utf8)
          bytes[offset] = byte
          var relay = QMPRelay(firstID: 7)
          _ = relay.pass(try Self.command(Self.save))
          guard let passed = relay.message(bytes)?.line else { continue }
          let document = try JSONDocument(parsing: [UInt8](passed.dropLast(2)))
          let kinds = ["return", "error", "event", "QMP"].filter { Self.has($0, document) }
          #expect(kinds.count == 1)
          #expect(passed.suffix(2) == [0x0D, 0x0A] && passed.allSatisfy { $0 < 0x7F })
        }
      }
    }
  }

  private static func has(_ name: String, _ document: JSONDocument) -> Bool {
    switch name {
    case "return": document.member("return") != nil
    case "error": document.member("error") != nil
    case "event": document.member("event") != nil
    default: document.member("QMP") != nil
    }
  }
}
