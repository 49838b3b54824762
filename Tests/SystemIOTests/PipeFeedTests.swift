import SaveDisk
import SystemIO
import TestSupport
import Testing

// Invariants:
// - who reads the pipe gets the file's first bytes in order, and then the end, however much the pipe holds;
// - a reader that waits, or has gone, hangs nobody; one that has gone is no error;
// - what the system does not let happen is an error, and the reader sees the end.

@Suite(.timeLimit(.minutes(1)))
struct PipeFeedTests {
  /// More than a pipe can be made to hold.
  static let bytes = (5 << 20) + 17

  init() { SignalsAsErrors.ofPipes() }

  private func file(_ content: [UInt8]) throws -> FileDescriptor {
    let file = try FileDescriptor.inMemory()
    try unsafe file.writeAll(content.span.bytes)
    return file
  }

  /// No two pieces are the same.
  private func content(_ count: Int = bytes) -> [UInt8] {
    (0..<count).map { UInt8(truncatingIfNeeded: $0 &* 31 &+ $0 >> 9) }
  }

  private func read(_ number: Int32?, atMost count: Int) throws -> [UInt8] {
    var buffer = AlignedBuffer(byteCount: count)
    var target = buffer.mutableBytes(0..<count)
    let found = try FileDescriptor(borrowing: try #require(number)).read(into: &target, from: 0)
    return buffer.array(0..<found)
  }

  @Test(arguments: [1, 65_536, 65_537, 1 << 20])
  func `what fits is there at once, and ends`(count: Int) throws {
    let content = content(count)
    let file = try file(content)
    var feed = try PipeFeed(of: file, bytes: UInt64(count))
    try feed.fill()
    #expect(feed.writerNumber == nil && feed.done == UInt64(count))
    var found: [UInt8] = []
    while case let piece = try read(feed.readerNumber, atMost: 32_768), !piece.isEmpty {
      found += piece
    }
    #expect(found == content)
  }

  @Test func `the rest comes as it is read, and no more than was asked for`() throws {
    let content = content(Self.bytes + 100)
    let file = try file(content)
    var feed = try PipeFeed(of: file, bytes: UInt64(Self.bytes))
    try feed.fill()
    #expect(feed.writerNumber != nil)
    var found: [UInt8] = []
    while true {
      let piece = try read(feed.readerNumber, atMost: 4093)
      if piece.isEmpty { break }
      found += piece
      try feed.fill()
    }
    #expect(found == [UInt8](content.prefix(Self.bytes)))
  }

  @Test func `a reader that does not read is waited for until the deadline`() throws {
    let file = try file(content())
    var feed = try PipeFeed(of: file, bytes: UInt64(Self.bytes))
    let readiness = try feed.wait(
      for: nil, toWrite: false, until: Deadline(timeoutMilliseconds: 50), signals: nil)
    #expect(readiness == .timedOut)
    #expect(feed.done > 0 && feed.done < Self.bytes)
  }

  @Test func `something else that is ready ends the wait`() throws {
    let file = try file(content())
    var feed = try PipeFeed(of: file, bytes: UInt64(Self.bytes))
    let other = try SocketPair()
    try other.say("x")
    let readiness = try feed.wait(
      for: other.client, toWrite: false, until: Deadline(timeoutMilliseconds: 10_000),
      signals: nil)
    #expect(readiness == .ready)
  }

  @Test func `a reader that has gone is the end`() throws {
    let file = try file(content())
    var feed = try PipeFeed(of: file, bytes: UInt64(Self.bytes))
    try feed.fill()
    feed.closeReader()
    let readiness = try feed.wait(
      for: nil, toWrite: false, until: Deadline(timeoutMilliseconds: 10_000), signals: nil)
    #expect(readiness == .ready && feed.writerNumber == nil && feed.done < Self.bytes)
  }

  @Test func `a file that is shorter is an error`() throws {
    let content = content(100)
    let file = try file(content)
    var feed = try PipeFeed(of: file, bytes: UInt64(content.count) + 1)
    #expect(throws: SystemError.self) { try feed.fill() }
  }

  @Test(arguments: [SystemCall.pipe, .pread, .write, .poll])
  func `a call that fails`(call: SystemCall) throws {
    let file = try file(content())
    Faults.fail(call, skipping: 0, errno: Errno.ioError)
    defer { Faults.clear() }
    #expect(throws: SystemError.self) {
      var feed = try PipeFeed(of: file, bytes: UInt64(Self.bytes))
      _ = try feed.wait(
        for: nil, toWrite: false, until: Deadline(timeoutMilliseconds: 1000), signals: nil)
    }
  }
}
