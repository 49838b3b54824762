import SaveDisk
import TestSupport
import Testing

@testable import QEMUMonitor

// Invariants:
// - what passes is spelled anew: a client can see in it only what was seen here;
// - a reply passes only for a command without one, once, to its client, with that command's id; those
//   before it are answered here;
// - whatever else QEMU says is dropped, and nothing traps.

@Suite struct QMPRelayTests {
  static func command(_ text: String) throws -> QMPRelay.Command {
    try #require(QMPRelay.command([UInt8](text.utf8)))
  }

  static func text(_ line: [UInt8]?) -> String { String(decoding: line ?? [], as: UTF8.self) }

  /// A relay whose QEMU has greeted and negotiated, and which gives that id to what comes next.
  static func ready(_ firstID: UInt64) throws -> QMPRelay {
    var relay = QMPRelay(firstID: firstID - 1)
    #expect(relay.messages([UInt8](#"{"QMP":{"version":{}}}"#.utf8)).count == 1)
    guard let question = relay.ask(.negotiate) else { throw Unready() }
    let line = #"{"return":{},"id":\#(question.id)}"#
    guard case .negotiated(nil)? = relay.messages([UInt8](line.utf8)).first else {
      throw Unready()
    }
    #expect(relay.isReady)
    return relay
  }

  struct Unready: Error {}

  /// The lines that go to somebody, of what QEMU says.
  static func lines(_ line: String, from relay: inout QMPRelay) -> [String] {
    relay.messages([UInt8](line.utf8)).compactMap { message in
      switch message {
      case .event(_, let line): Self.text(line)
      case .reply(let reply): Self.text(reply.line)
      case .greeting: Self.text(relay.greeting)
      case .negotiated, .blockers, .resumed: nil
      }
    }
  }

  /// What passes of a line, after `commands` have been sent.
  private static func passed(_ line: String, after commands: [String]) throws -> String? {
    var relay = try ready(7)
    for command in commands {
      #expect(relay.pass(try Self.command(command), of: 1) != nil)
    }
    let lines = lines(line, from: &relay)
    #expect(lines.count <= 1)
    return lines.first
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
    (#"{"execute":"cont","id":"stop"}"#, .cont), (#"{"execute":"query-cpus"}"#, .other),
    (#"{"execute":"qmp_capabilities"}"#, .capabilities),
    (#"{"execute":"qmp_capabilities","arguments":{}}"#, .capabilities),
    (#"{"execute":"qmp_capabilities","arguments":{"enable":[]}}"#, .capabilities),
    (#"{"execute":"qmp_capabilities","arguments":{"enable":["oob"]}}"#, .otherCapabilities),
  ])
  func `what a command is about`(text: String, kind: QMPRelay.Kind) throws {
    #expect(try Self.command(text).kind == kind)
  }

  @Test(arguments: ["", "{}", "[]", "1", "{\"execute\":1}", "{\"exec-oob\":\"stop\"}", "{", "x"])
  func `what is no command`(text: String) {
    #expect(QMPRelay.command([UInt8](text.utf8)) == nil)
  }

  @Test func `a command is spelled anew`() throws {
    var relay = try Self.ready(9)
    let text =
      " {\"execute\" : \"st\\u006fp\", \"id\":  [1, {\"a\": null}], \"x\": 1, \"arguments\" : {} }"
    let line = relay.pass(try Self.command(text), of: 1)
    #expect(Self.text(line) == #"{"execute":"stop","arguments":{},"id":9}"# + "\r\n")
    #expect(
      Self.lines(#"{"return":{},"id":9}"#, from: &relay)
        == [#"{"return":{},"id":[1,{"a":null}]}"# + "\r\n"])
  }

  @Test func `a command without an id has a reply without one`() throws {
    var relay = try Self.ready(9)
    let line = relay.pass(try Self.command(#"{"execute":"query-status"}"#), of: 1)
    #expect(Self.text(line) == #"{"execute":"query-status","id":9}"# + "\r\n")
    #expect(Self.lines(#"{"return":1,"id":9}"#, from: &relay) == [#"{"return":1}"# + "\r\n"])
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
    #"{"return":{},"id":7} {"return":{},"id":7}"#, #"{"QMP":{"version":{}},"return":{},"id":7}"#,
    #"{"return":{},"id":6}"#,
  ])
  func `what is dropped`(line: String) throws {
    #expect(try Self.passed(line, after: [Self.save]) == nil)
  }

  @Test func `a reply passes once, and what it passes over never comes`() throws {
    var relay = try Self.ready(1)
    let early = #"{"return":{},"id":1}"#
    #expect(Self.lines(early, from: &relay).isEmpty)
    for number in 1...3 {
      #expect(
        relay.pass(try Self.command(#"{"execute":"stop","id":\#(number)}"#), of: 1) != nil)
    }
    let two = Self.lines(#"{"return":{},"id":2}"#, from: &relay)
    #expect(two.count == 2 && two[0].contains("error") && two[0].hasSuffix("\"id\":1}\r\n"))
    #expect(two[1] == #"{"return":{},"id":2}"# + "\r\n")
    #expect(Self.lines(early, from: &relay).isEmpty)
    #expect(Self.lines(#"{"return":{},"id":3}"#, from: &relay).count == 1)
    #expect(Self.lines(#"{"return":{},"id":3}"#, from: &relay).isEmpty)
  }

  @Test(arguments: [
    #"{"QMP":{}}"#, #"{"QMP":{"version":1}}"#, #"{"QMP":1}"#,
    #"{"QMP":{"version":{"a":""# + String(repeating: "x", count: 5000) + #""}}}"#,
  ])
  func `what is no greeting`(line: String) {
    var relay = QMPRelay(firstID: 1)
    #expect(relay.messages([UInt8](line.utf8)).isEmpty && relay.greeting == nil)
  }

  @Test func `one greeting in a connection, without capabilities, kept beyond it`() throws {
    var relay = QMPRelay(firstID: 1)
    func greeting(_ number: Int) -> String {
      #"{"x":1,"QMP":{"capabilities":["oob"],"version":{"qemu":\#(number)}}}"#
    }
    let wanted = #"{"QMP":{"version":{"qemu":1},"capabilities":[]}}"# + "\r\n"
    #expect(Self.lines(greeting(1), from: &relay) == [wanted])
    #expect(Self.lines(greeting(2), from: &relay).isEmpty)
    // Events, before QEMU has negotiated.
    #expect(relay.messages([UInt8](#"{"event":"STOP"}"#.utf8)).isEmpty)
    #expect(relay.lose(PlainText()).isEmpty && !relay.isReady)
    #expect(Self.text(relay.greeting) == wanted)
    #expect(Self.lines(greeting(3), from: &relay) == [wanted.replacing(":1", with: ":3")])
  }

  @Test func `commands without a reply are bounded`() throws {
    var relay = try Self.ready(1)
    let command = try Self.command(Self.save)
    for _ in 0..<QMPRelay.maxOutstanding { #expect(relay.pass(command, of: 1) != nil) }
    #expect(relay.pass(command, of: 2) == nil)
    for _ in 0..<QMPRelay.maxOutstanding { #expect(relay.ask(.askBlockers) != nil) }
    #expect(relay.ask(.resume) == nil)
  }

  @Test func `a save that is given up`() throws {
    var relay = try Self.ready(7)
    var text = PlainText()
    text.append("late")
    #expect(relay.giveUpSave(text) == nil)
    #expect(relay.pass(try Self.command(Self.save), of: 4) != nil)
    #expect(relay.isSaving && relay.isSaving(for: 4) && !relay.isSaving(for: 5))
    let reply = relay.giveUpSave(text)
    #expect(
      Self.text(reply?.line)
        == #"{"error":{"class":"GenericError","desc":"late"},"id":7}"# + "\r\n")
    #expect(reply?.client == 4 && reply?.isError == true)
    #expect(!relay.isSaving)
    #expect(relay.giveUpSave(text) == nil)
    // What QEMU says of it then is nobody's; what follows is answered.
    #expect(relay.pass(try Self.command(#"{"execute":"cont","id":"c"}"#), of: 4) != nil)
    #expect(Self.lines(#"{"return":{},"id":7}"#, from: &relay).isEmpty)
    #expect(
      Self.lines(#"{"return":{},"id":8}"#, from: &relay) == [#"{"return":{},"id":"c"}"# + "\r\n"])
  }

  @Test(arguments: [
    (#"{"return":{},"id":7}"#, "none"), (#"{"return":{"blocked-reasons":[]},"id":7}"#, "none"),
    (#"{"return":{"status":"none"},"id":7}"#, "none"),
    (#"{"return":{"blocked-reasons":["a: b"]},"id":7}"#, "a: b"),
    (#"{"return":{"blocked-reasons":["a","\u001b[31m\\"]},"id":7}"#, #"a; \x1b[31m\x5c"#),
    (#"{"error":{"class":"CommandNotFound","desc":"no"},"id":7}"#, "refused no"),
    (#"{"return":{"blocked-reasons":"a"},"id":7}"#, "nonsense"),
    (#"{"return":{"blocked-reasons":[1]},"id":7}"#, "nonsense"),
    (#"{"return":[],"id":7}"#, "nonsense"), (#"{"return":{},"id":8}"#, "nonsense"),
  ])
  func `a question of the relay's own`(line: String, wanted: String) throws {
    var relay = try Self.ready(7)
    let asked = relay.ask(.askBlockers)
    let question = try #require(asked)
    #expect(question.id == 7)
    #expect(Self.text(question.line) == #"{"execute":"query-migrate","id":7}"# + "\r\n")
    #expect(!relay.isSaving)
    // Behind it, of the client's.
    #expect(relay.pass(try Self.command(#"{"execute":"stop","id":1}"#), of: 1) != nil)
    guard case .blockers(7, let blockers)? = relay.messages([UInt8](line.utf8)).first else {
      Issue.record("not the question's answer")
      return
    }
    switch blockers {
    case .answered(.none): #expect(wanted == "none")
    case .answered(.some(let reasons)): #expect(wanted == Self.text(reasons.bytes))
    case .refused(let text): #expect(wanted == "refused " + Self.text(text.bytes))
    case .nonsense: #expect(wanted == "nonsense")
    }
    #expect(Self.lines(line, from: &relay).isEmpty)
  }

  @Test func `reasons are bounded`() throws {
    var relay = try Self.ready(7)
    _ = relay.ask(.askBlockers)
    let list = [String](repeating: "\"" + String(repeating: "x", count: 600) + "\"", count: 40)
    let line = #"{"return":{"blocked-reasons":["# + list.joined(separator: ",") + #"]},"id":7}"#
    guard
      case .blockers(7, .answered(.some(let text)))? = relay.messages([UInt8](line.utf8)).first
    else {
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
          var relay = try Self.ready(7)
          _ = relay.pass(try Self.command(Self.save), of: 1)
          for passed in Self.lines(String(decoding: bytes, as: UTF8.self), from: &relay) {
            let passed = [UInt8](passed.utf8)
            let document = try JSONDocument(parsing: [UInt8](passed.dropLast(2)))
            let kinds = ["return", "error", "event", "QMP"].filter { Self.has($0, document) }
            #expect(kinds.count == 1)
            #expect(passed.suffix(2) == [0x0D, 0x0A] && passed.allSatisfy { $0 < 0x7F })
          }
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
