import SaveDisk
import TestSupport
import Testing

@testable import QEMUMonitor

// Invariants:
// - whoever gave a command gets its reply, and nobody else, in whatever order clients come and go;
// - a client that has gone gets nothing; neither does one that has come since under QEMU's ids;
// - what QEMU owes when it is lost is answered once, as an error, and never again after that;
// - before a client has negotiated, no command of its reaches QEMU.

@Suite struct QMPClientsTests {
  /// A QEMU that answers each command with its own number there, and clients that come and go.
  @Test(arguments: UInt64(1)...200)
  func `replies find their clients`(seed: UInt64) throws {
    var random = SeededGenerator(seed: seed)
    var relay = try QMPRelayTests.ready(1 << 40)
    var owed: [(id: UInt64, client: UInt64, command: Int)] = []
    var living: Set<UInt64> = [1]
    var newest: UInt64 = 1
    var (given, answered) = (0, 0)
    for _ in 0..<400 {
      switch random.next() % 8 {
      case 0:
        newest += 1
        living.insert(newest)
      case 1:
        if let client = living.min(), living.count > 1 {
          living.remove(client)
          relay.forget(client)
        }
      case 2...4:
        let client = living.sorted()[Int(random.next() % UInt64(living.count))]
        given += 1
        let text = #"{"execute":"query-status","id":{"client":\#(client),"n":\#(given)}}"#
        guard let line = relay.pass(try QMPRelayTests.command(text), of: client) else { continue }
        let document = try JSONDocument(parsing: [UInt8](line.dropLast(2)))
        let id = try #require(document.member("id").flatMap(document.unsigned))
        #expect(!owed.contains { $0.id == id })
        owed.append((id, client, given))
      default:
        guard let next = owed.first else { continue }
        owed.removeFirst()
        let messages = relay.messages(
          [UInt8](#"{"return":\#(next.command),"id":\#(next.id)}"#.utf8))
        guard case .reply(let reply)? = messages.first, messages.count == 1 else {
          Issue.record("no reply")
          return
        }
        answered += 1
        #expect(reply.client == (living.contains(next.client) ? next.client : nil))
        let ids = #"{"client":\#(next.client),"n":\#(next.command)}"#
        #expect(
          QMPRelayTests.text(reply.line)
            == #"{"return":\#(next.command),"id":\#(ids)}"# + "\r\n")
      }
    }
    #expect(answered > 50)
  }

  @Test func `what QEMU owes when it is lost`() throws {
    var relay = try QMPRelayTests.ready(5)
    let command = try QMPRelayTests.command(#"{"execute":"stop","id":"s"}"#)
    for client: UInt64 in 1...3 { #expect(relay.pass(command, of: client) != nil) }
    #expect(relay.ask(.askBlockers) != nil)
    relay.forget(2)
    var text = PlainText()
    text.append("lost")
    let replies = relay.lose(text)
    #expect(replies.map(\.client) == [1, nil, 3] && replies.allSatisfy { $0.isError })
    #expect(relay.lose(text).isEmpty && !relay.isReady && relay.stop == nil)
    // The QEMU that comes next, or the same, says what it had under way.
    for id in 1...9 {
      #expect(relay.messages([UInt8](#"{"return":{},"id":\#(id)}"#.utf8)).isEmpty)
    }
    #expect(relay.messages([UInt8](#"{"QMP":{"version":{}}}"#.utf8)).count == 1)
    #expect(relay.ask(.negotiate)?.id == 9)
  }

  @Test func `whose stop it is`() throws {
    var relay = try QMPRelayTests.ready(5)
    #expect(relay.stop == nil)
    let stop = try QMPRelayTests.command(#"{"execute":"stop"}"#)
    #expect(relay.pass(stop, of: 1) != nil && relay.pass(stop, of: 2) != nil)
    #expect(relay.stop == .client(1) && relay.owesReply(to: 2) && !relay.owesReply(to: 3))
    relay.forget(1)
    #expect(relay.stop == .goneClient)
    _ = relay.messages([UInt8](#"{"return":{},"id":5}"#.utf8))
    #expect(relay.stop == .client(2))
  }

  @Test func `errands are answered to the relay`() throws {
    var relay = try QMPRelayTests.ready(5)
    #expect(
      QMPRelayTests.text(relay.ask(.resume)?.line) == #"{"execute":"cont","id":5}"# + "\r\n")
    guard case .resumed(nil)? = relay.messages([UInt8](#"{"return":{},"id":5}"#.utf8)).first
    else {
      Issue.record("not resumed")
      return
    }
    _ = relay.ask(.resume)
    let no = #"{"error":{"class":"GenericError","desc":"no\n"},"id":6}"#
    guard case .resumed(let words?)? = relay.messages([UInt8](no.utf8)).first else {
      Issue.record("no error")
      return
    }
    #expect(QMPRelayTests.text(words.bytes) == #"no\x0a"#)
    var refused = QMPRelay(firstID: 1)
    _ = refused.ask(.negotiate)
    guard
      case .negotiated(.some)? =
        refused.messages([UInt8](#"{"error":{"desc":"no"},"id":1}"#.utf8)).first
    else {
      Issue.record("no error")
      return
    }
    #expect(!refused.isReady)
  }

  @Test func `negotiation is answered here`() throws {
    var negotiation = QMPNegotiation()
    func answer(_ text: String) throws -> String? {
      try negotiation.answer(QMPRelayTests.command(text)).map { QMPRelayTests.text($0) }
    }
    let early = try answer(#"{"execute":"stop","id":1}"#)
    #expect(early?.contains("CommandNotFound") == true && early?.contains("\"id\":1") == true)
    let other = try answer(#"{"execute":"qmp_capabilities","arguments":{"enable":["oob"]}}"#)
    #expect(other?.contains("GenericError") == true && !negotiation.isDone)
    let good = try answer(#"{"execute":"qmp_capabilities","id":"a"}"#)
    #expect(good == #"{"return":{},"id":"a"}"# + "\r\n" && negotiation.isDone)
    let again = try answer(#"{"execute":"qmp_capabilities","id":2}"#)
    #expect(again?.contains("CommandNotFound") == true)
    let passed = try answer(#"{"execute":"stop","id":1}"#)
    #expect(passed == nil)
  }

  @Test func `pauses grow, and come to an end`() {
    var pauses = ConnectPauses()
    var seen: [UInt64] = []
    var greetings: [UInt64] = []
    while !pauses.isOver {
      greetings.append(pauses.greetingMilliseconds)
      seen.append(pauses.fail())
    }
    #expect(seen == [50, 100, 200, 400, 800, 1600])
    #expect(greetings.prefix(4) == [2000, 4000, 8000, 16000] && greetings.max() == 16000)
    #expect(pauses.fail() == 3200 && pauses.fail() == 3200 && pauses.isOver)
  }
}
