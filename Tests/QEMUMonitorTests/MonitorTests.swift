import Foundation
import SaveDisk
import SystemIO
import TestSupport
import Testing

@testable import QEMUMonitor

// Invariants:
// - a reply counts only for the command that it answers, events may come at any time;
// - what is not QMP, too long, or late ends the conversation with an error that says so;
// - a descriptor goes along with its command.

@Suite(.timeLimit(.minutes(2)))
struct MonitorTests {
  static let greeting =
    #"{"QMP": {"version": {"qemu": {"micro": 22, "minor": 2, "major": 7}, "package": "Debian é"}, "capabilities": ["oob"]}}"#
    + "\r\n"
  static let agreed = #"{"return": {}, "id": 1}"# + "\r\n"

  let pair: SocketPair
  init() throws { pair = try SocketPair() }

  private func connect(
    saying text: String, timeoutMilliseconds: UInt64 = 30_000
  ) throws -> Monitor {
    try pair.say(text)
    return try Monitor.greeted(
      UnixSocket(FileDescriptor(owning: pair.client)),
      deadline: Deadline(timeoutMilliseconds: timeoutMilliseconds))
  }

  private func expectFailure(
    _ body: () throws(MonitorError) -> Void, sourceLocation: SourceLocation = #_sourceLocation,
    _ isExpected: (MonitorError) -> Bool
  ) {
    do throws(MonitorError) {
      try body()
      Issue.record("no error", sourceLocation: sourceLocation)
    } catch {
      #expect(isExpected(error), "\(error)", sourceLocation: sourceLocation)
    }
  }

  @Test func `a whole conversation`() throws {
    var monitor = try connect(saying: Self.greeting + Self.agreed)
    #expect(monitor.version.bytes == [UInt8]("7.2.22 (Debian \\xc3\\xa9)".utf8))
    try pair.say(
      #"{"timestamp": {"seconds": 1, "microseconds": 2}, "event": "STOP"}"# + "\r\n"
        + #"{"return": {"running": false, "singlestep": false, "status": "paused"}, "id": 2}"#
        + "\n")
    let state = try monitor.runState()
    #expect(!state.isRunning && !state.isIncoming)
    #expect(state.status.bytes == [UInt8]("paused".utf8))
    let heard = pair.heard()
    #expect(
      heard == #"{"execute":"qmp_capabilities","id":1}"# + "\r\n"
        + #"{"execute":"query-status","id":2}"# + "\r\n")
  }

  @Test func `a descriptor goes along`() throws {
    var monitor = try connect(saying: Self.greeting + Self.agreed)
    let file = try FileDescriptor.inMemory()
    try pair.say(#"{"return": {"fdset-id": 7, "fd": 23}, "id": 2}"# + "\n")
    #expect(try monitor.addDescriptor(file.number) == 7)
    #expect(pair.heard().contains("add-fd"))
  }

  @Test func `a refusal has its description`() throws {
    var monitor = try connect(saying: Self.greeting + Self.agreed)
    try pair.say(#"{"error": {"class": "GenericError", "desc": "no\u001b[31m"}, "id": 2}"# + "\n")
    do throws(MonitorError) {
      try monitor.stop()
      Issue.record("no error")
    } catch {
      var text = PlainText()
      text.append(error)
      #expect(text.bytes == [UInt8]("QEMU refused stop: no\\x1b[31m".utf8))
    }
  }

  @Test(arguments: [
    "{}\n", "[]\n", "\n", "garbage\n", "{\"QMP\":1}\n", "{\"return\":{},\"id\":1}\n",
    #"{"QMP":{"version":{"qemu":{"micro":"x","minor":2,"major":7}}}}"# + "\n",
    "\u{7F}\u{1}\n",
  ])
  func `what is no greeting`(text: String) throws {
    #expect(throws: MonitorError.self) { _ = try connect(saying: text) }
  }

  @Test(arguments: [
    #"{"id": 2}"#, #"{"error": {}, "id": 2}"#, #"{"error": {"desc": 5}, "id": 2}"#, "{}",
    #"{"result": {}, "id": 2}"#, #"{"return": {}, "error": {"desc": "no"}, "id": 2}"#,
    #"{"error": {}, "return": {}, "id": 2}"#, #"{"return": {}, "error": null, "id": 1}"#,
  ])
  func `a reply that does not fit`(line: String) throws {
    var monitor = try connect(saying: Self.greeting + Self.agreed)
    try pair.say(line + "\n")
    expectFailure {
      () throws(MonitorError) in
      try monitor.stop()
    } _: {
      if case .notQMP = $0 { true } else { false }
    }
  }

  @Test func `the end of the connection`() throws {
    var monitor = try connect(saying: Self.greeting + Self.agreed)
    pair.hangUp()
    expectFailure {
      () throws(MonitorError) in
      try monitor.stop()
    } _: {
      if case .closed = $0 { true } else { false }
    }
  }

  @Test func `silence`() throws {
    var monitor = try connect(saying: Self.greeting + Self.agreed)
    monitor.deadline = Deadline(timeoutMilliseconds: 20)
    expectFailure {
      () throws(MonitorError) in
      try monitor.stop()
    } _: {
      if case .deadline = $0 { true } else { false }
    }
  }

  @Test func `a flood of events extends no deadline`() throws {
    var monitor = try connect(saying: Self.greeting + Self.agreed)
    let events = Data(String(repeating: "{\"event\":\"X\"}\r\n", count: 2000).utf8)
    pair.sayInBackground(Array(repeating: events, count: 100_000))
    monitor.deadline = Deadline(timeoutMilliseconds: 100)
    expectFailure {
      () throws(MonitorError) in
      try monitor.stop()
    } _: {
      if case .deadline = $0 { true } else { false }
    }
  }

  @Test func `many events, then the reply`() throws {
    var monitor = try connect(saying: Self.greeting + Self.agreed)
    let events = Data(String(repeating: "{\"event\":\"X\"}\r\n", count: 10_000).utf8)
    pair.sayInBackground([events, Data("{\"return\":{},\"id\":2}\n".utf8)])
    try monitor.stop()
  }

  @Test func `a line without an end, and the longest line`() throws {
    var monitor = try connect(saying: Self.greeting + Self.agreed)
    let padding = String(repeating: " ", count: Monitor.maxLineBytes - 22)
    pair.sayInBackground([
      Data((padding + "{\"return\":{},\"id\":2}\n").utf8),
      Data(repeating: 0x20, count: 1 << 30),
    ])
    try monitor.stop()
    expectFailure {
      () throws(MonitorError) in
      try monitor.stop()
    } _: {
      if case .lineTooLong = $0 { true } else { false }
    }
  }

  @Test func `one byte at a time`() throws {
    let text = Self.greeting + Self.agreed
    pair.sayInBackground(text.utf8.map { Data([$0]) })
    let monitor = try Monitor.greeted(
      UnixSocket(FileDescriptor(owning: pair.client)),
      deadline: Deadline(timeoutMilliseconds: 30_000))
    #expect(!monitor.version.bytes.isEmpty)
  }

  @Test(arguments: [
    #"{"return": {}, "id": 3}"#, #"{"return": {}, "id": "2"}"#, #"{"return": {}}"#,
    #"{"return": {}, "id": 2.0}"#, #"{"error": {"desc": "no"}, "id": 1}"#, #"{"error": {}}"#,
  ])
  func `a reply to another client's command is passed over`(line: String) throws {
    var monitor = try connect(saying: Self.greeting + Self.agreed)
    try pair.say(line + "\n" + #"{"return": {}, "id": 2}"# + "\n")
    try monitor.stop()
  }

  @Test func `a late reply to a command that was given up is passed over`() throws {
    var monitor = try connect(saying: Self.greeting + Self.agreed)
    monitor.deadline = Deadline(timeoutMilliseconds: 10)
    #expect(throws: MonitorError.self) { try monitor.stop() }
    monitor.deadline = Deadline(timeoutMilliseconds: 30_000)
    try pair.say("{\"return\":{},\"id\":2}\n{\"return\":{},\"id\":3}\n")
    try monitor.cont()
  }

  /// All that the code under test has sent: what comes with a descriptor is received by itself.
  private func heard() -> String {
    var text = ""
    while case let more = pair.heard(), !more.isEmpty { text += more }
    return text
  }

  private func migration(_ status: String) -> String {
    #"{"event":"MIGRATION","data":{"status":"\#(status)"}}"# + "\n"
  }

  private func replies(_ ids: ClosedRange<Int>) -> [String] {
    ids.map { "{\"return\":{},\"id\":\($0)}\n" }
  }

  @Test func `a load ends with its event`() throws {
    var monitor = try connect(saying: Self.greeting + Self.agreed)
    let file = try FileDescriptor.inMemory()
    let replies = replies(2...4)
    try pair.say(
      replies[0] + replies[1] + migration("setup") + replies[2] + migration("active")
        + migration("completed"))
    try monitor.load(file, bytes: 0)
    let heard = heard()
    #expect(heard.contains("fd:stubsave") && !heard.contains("exit-on-error"), "\(heard)")
  }

  @Test(arguments: [(7, 2, false), (9, 0, false), (9, 1, true), (10, 0, true), (11, 1, true)])
  func `QEMU from 9.1 on says why, and is told to end`(major: Int, minor: Int, says: Bool) throws {
    let greeting = Self.greeting.replacing(
      #""minor": 2, "major": 7"#, with: #""minor": \#(minor), "major": \#(major)"#)
    var monitor = try connect(saying: greeting + Self.agreed)
    let file = try FileDescriptor.inMemory()
    let reason = #"{"return":{"status":"failed","error-desc":"no e1000"},"id":5}"# + "\n"
    let ended = "{\"return\":{},\"id\":\(says ? 6 : 5)}\n"
    try pair.say(
      replies(2...4).joined() + migration("failed") + (says ? reason : "") + ended)
    expectFailure {
      () throws(MonitorError) in
      try monitor.load(file, bytes: 0)
    } _: { error in
      guard case .migrationFailed(let description) = error else { return false }
      return description == (says ? [UInt8]("no e1000".utf8) : nil)
    }
    let heard = heard()
    #expect(heard.contains(#""exit-on-error":false"#) == says, "\(heard)")
    #expect(heard.hasSuffix("{\"execute\":\"quit\",\"id\":\(says ? 6 : 5)}\r\n"), "\(heard)")
  }

  @Test func `a refusal of the state leaves QEMU waiting, without the pipe`() throws {
    var monitor = try connect(saying: Self.greeting + Self.agreed)
    let file = try FileDescriptor.inMemory()
    try pair.say(
      replies(2...3).joined() + #"{"error":{"desc":"no file"},"id":4}"# + "\n"
        + replies(5...5).joined())
    expectFailure {
      () throws(MonitorError) in
      try monitor.load(file, bytes: 0)
    } _: {
      if case .refused(_, let description) = $0 {
        description == [UInt8]("no file".utf8)
      } else {
        false
      }
    }
    let heard = heard()
    #expect(heard.contains("closefd") && !heard.contains("quit"), "\(heard)")
  }
}
