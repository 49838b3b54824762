import Foundation
import SaveDisk
import SystemIO
import TestSupport
import Testing
import Xenstore

// A real xenstored (Tests/Xenstored/xenstored.py), dom0 and a stubdomain of another domid as
// clients, permissions in force.
//
// Invariants:
// - what is written is read, by whom it may be, and by nobody else;
// - a watch fires when it is set and at each change, and its events are kept while a request is
//   answered;
// - a transaction is done whole, or gives `.conflict`;
// - every refusal has its error, and the connection goes on.

enum Xenstored {
  static let directory = ProcessInfo.processInfo.environment["STUBSAVE_XENSTORED"]
  static let stubdomain: UInt32 = 5

  static func connect(_ name: String) throws -> XenstoreConnection {
    let directory = try #require(directory, "run under Tests/Xenstored/xenstored.py")
    let path = try #require(SystemPath("\(directory)/\(name)"))
    return try XenstoreConnection.connect(
      to: path, deadline: Deadline(timeoutMilliseconds: 20_000))
  }

  static func path(_ text: String) throws -> SystemPath { try #require(SystemPath(text)) }
}

@Suite(
  .serialized, .timeLimit(.minutes(1)),
  .enabled(if: Xenstored.directory != nil || Privileges.requiresAll, "needs xenstored"))
struct XenstoreOnXenstoredTests {
  static let domain = "/local/domain/5"

  private func bytes(_ text: String) -> [UInt8] { [UInt8](text.utf8) }

  @Test func `values and directories`() throws {
    var dom0 = try Xenstored.connect("dom0")
    let path = try Xenstored.path("\(Self.domain)/test/a")
    for value in [[], [0], bytes("text"), [UInt8](repeating: 0xFF, count: 2000)] {
      try dom0.write(path, value)
      let found = try dom0.read(path)
      #expect(found == value)
    }
    try dom0.makeDirectory(try Xenstored.path("\(Self.domain)/test/b"))
    let names = try dom0.directory(try Xenstored.path("\(Self.domain)/test"))
    #expect(names.map { String(decoding: $0, as: UTF8.self) }.sorted() == ["a", "b"])
    try dom0.remove(try Xenstored.path("\(Self.domain)/test"))
    #expect(throws: XenstoreError.notFound) { _ = try dom0.read(path) }
    #expect(throws: XenstoreError.notFound) {
      try dom0.remove(try Xenstored.path("\(Self.domain)/no/such"))
    }
  }

  @Test func `what is too long, or no path`() throws {
    var dom0 = try Xenstored.connect("dom0")
    let path = try Xenstored.path("\(Self.domain)/long")
    #expect(throws: XenstoreError.tooLong) {
      try dom0.write(path, [UInt8](repeating: 1, count: 4096))
    }
    #expect(throws: XenstoreError.self) { _ = try dom0.read(try Xenstored.path("//")) }
    #expect(throws: XenstoreError.self) { _ = try dom0.read(try Xenstored.path("a b\n")) }
    // The connection goes on.
    try dom0.write(path, [1])
    try dom0.remove(path)
  }

  @Test func `the stubdomain can write its own node and nothing else of dom0's`() throws {
    var dom0 = try Xenstored.connect("dom0")
    let domid = Xenstored.stubdomain
    let directory = "\(Self.domain)/stubsave"
    let readable = [
      XenstorePermission(.none, domid: 0), XenstorePermission(.read, domid: domid),
    ]
    try dom0.makeDirectory(try Xenstored.path(directory))
    try dom0.setPermissions(try Xenstored.path(directory), readable)
    try dom0.write(try Xenstored.path("\(directory)/offer"), bytes("1 idle"))
    try dom0.setPermissions(try Xenstored.path("\(directory)/offer"), readable)
    try dom0.write(try Xenstored.path("\(directory)/answer"), [])
    try dom0.setPermissions(
      try Xenstored.path("\(directory)/answer"),
      [XenstorePermission(.none, domid: 0), XenstorePermission(.readWrite, domid: domid)])
    try dom0.write(try Xenstored.path("\(Self.domain)/secret"), bytes("x"))
    try dom0.setPermissions(
      try Xenstored.path("\(Self.domain)/secret"), [XenstorePermission(.none, domid: 0)])

    var stubdomain = try Xenstored.connect("\(domid)")
    // Relative paths begin at the domain's own directory.
    let offer = try stubdomain.read(try Xenstored.path("stubsave/offer"))
    #expect(offer == bytes("1 idle"))
    try stubdomain.write(try Xenstored.path("stubsave/answer"), bytes("hello"))
    let answer = try dom0.read(try Xenstored.path("\(directory)/answer"))
    #expect(answer == bytes("hello"))
    for forbidden in [
      "stubsave/offer", "stubsave", "stubsave/new", "other", "/local/domain/0/x",
      "\(Self.domain)/secret", "/local/domain/7/x", "/tool", "stubsave/offer/below",
    ] {
      #expect(throws: XenstoreError.permission, "\(forbidden)") {
        try stubdomain.write(try Xenstored.path(forbidden), bytes("evil"))
      }
      #expect(throws: XenstoreError.self, "\(forbidden)") {
        try stubdomain.remove(try Xenstored.path(forbidden))
      }
      #expect(throws: XenstoreError.self, "\(forbidden)") {
        try stubdomain.setPermissions(
          try Xenstored.path(forbidden), [XenstorePermission(.readWrite, domid: domid)])
      }
    }
    #expect(throws: XenstoreError.permission) {
      _ = try stubdomain.read(try Xenstored.path("\(Self.domain)/secret"))
    }
    let still = try dom0.read(try Xenstored.path("\(directory)/offer"))
    #expect(still == bytes("1 idle"))
    // It may put nodes below its own; with the node they go.
    try stubdomain.write(try Xenstored.path("stubsave/answer/below"), bytes("x"))
    try dom0.remove(try Xenstored.path("\(directory)/answer"))
    try dom0.remove(try Xenstored.path(directory))
    try dom0.remove(try Xenstored.path("\(Self.domain)/secret"))
  }

  @Test func `watches`() throws {
    var dom0 = try Xenstored.connect("dom0")
    var other = try Xenstored.connect("dom0")
    let path = try Xenstored.path("\(Self.domain)/watched")
    try dom0.write(path, [1])
    try other.watch(path, token: 42)
    #expect(try event(&other) == 42)
    let none = try other.nextEvent()
    #expect(none == nil)
    try dom0.write(path, [2])
    // The event comes while a request is answered, and is kept.
    try dom0.write(path, [3])
    _ = try other.read(path)
    #expect(try event(&other) == 42)
    try other.unwatch(path, token: 42)
    while try other.nextEvent() != nil {}
    try dom0.remove(path)
    _ = try? other.read(path)
    let afterwards = try other.nextEvent()
    #expect(afterwards == nil)
  }

  /// Waits for one.
  private func event(_ connection: inout XenstoreConnection) throws -> UInt32 {
    while true {
      if let token = try connection.nextEvent() { return token }
      let readiness = try UnixSocket.wait(
        for: connection.number, toWrite: false, until: Deadline(timeoutMilliseconds: 10_000),
        signals: nil)
      try #require(readiness == .ready)
    }
  }

  @Test func `transactions`() throws {
    var dom0 = try Xenstored.connect("dom0")
    var other = try Xenstored.connect("dom0")
    let (first, second) = (
      try Xenstored.path("\(Self.domain)/t/1"), try Xenstored.path("\(Self.domain)/t/2")
    )
    var transaction = try dom0.startTransaction()
    try dom0.write(first, [1], in: transaction)
    try dom0.write(second, [2], in: transaction)
    #expect(throws: XenstoreError.notFound) { _ = try other.read(first) }
    try dom0.endTransaction(transaction, isCommitted: true)
    let value = try other.read(second)
    #expect(value == [2])

    transaction = try dom0.startTransaction()
    _ = try dom0.read(first, in: transaction)
    try other.write(first, [9])
    try dom0.write(second, [8], in: transaction)
    #expect(throws: XenstoreError.conflict) {
      try dom0.endTransaction(transaction, isCommitted: true)
    }
    transaction = try dom0.startTransaction()
    try dom0.write(second, [7], in: transaction)
    try dom0.endTransaction(transaction, isCommitted: false)
    let unchanged = try dom0.read(second)
    #expect(unchanged == [2])
    try dom0.remove(try Xenstored.path("\(Self.domain)/t"))
  }

  @Test func `changes are made whole, also when somebody comes between`() throws {
    var dom0 = try Xenstored.connect("dom0")
    let (home, value) = (
      try Xenstored.path("\(Self.domain)/c"), try Xenstored.path("\(Self.domain)/c/value")
    )
    try dom0.write(value, [1])
    var attempts = 0
    try dom0.change { dom0, transaction throws(XenstoreError) in
      attempts += 1
      let found = try dom0.read(value, in: transaction)
      // Not in the transaction: somebody else, the first time.
      if attempts == 1 { try dom0.write(value, [5]) }
      return [.write(value, [found[0] + 1]), .remove(home.child("gone"))]
    }
    let found = try dom0.read(value)
    #expect(found == [6] && attempts == 2)

    #expect(throws: XenstoreError.permission) {
      var stubdomain = try Xenstored.connect("\(Xenstored.stubdomain)")
      try stubdomain.change { _, _ in [.makeDirectory(home.child("mine")), .write(value, [7])] }
    }
    let unchanged = try dom0.directory(home)
    #expect(unchanged == [bytes("value")])
    try dom0.remove(home)
  }

  @Test func `a directory of more than one message`() throws {
    var dom0 = try Xenstored.connect("dom0")
    let home = try Xenstored.path("\(Self.domain)/many")
    let names = (0..<500).map { "a-name-that-is-not-so-short-\($0)" }
    try dom0.change { _, _ in names.map { .makeDirectory(home.child($0)) } }
    let found = try dom0.directory(home)
    #expect(found.map { String(decoding: $0, as: UTF8.self) }.sorted() == names.sorted())
    try dom0.remove(home)
    #expect(throws: XenstoreError.notFound) { _ = try dom0.directory(home) }
  }

  @Test func `silence has a deadline`() throws {
    // A server that takes connections and says nothing.
    let pair = try SocketPair()
    var silent = XenstoreConnection.over(pair.client)
    silent.deadline = Deadline(timeoutMilliseconds: 30)
    #expect(throws: XenstoreError.deadline) { _ = try silent.read(try Xenstored.path("/x")) }
  }
}

extension SystemPath {
  fileprivate func child(_ name: String) -> SystemPath {
    guard let path = appending([UInt8](name.utf8)) else { preconditionFailure() }
    return path
  }
}
