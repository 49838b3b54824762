import Foundation
import Rendezvous
import SaveDisk
import SystemIO
import TestSupport
import Testing

// Invariants (formats/rendezvous.md, sections 4 and 5):
// - a wait ends at its deadline, not before and not much later, whatever is in the cell and however
//   often it changes;
// - who writes in a loop costs next to no time of the processor;
// - what was said before the end of the other side is still heard.

@Suite struct OffererTests {
  static let wanted = Wanted(
    id: MessageTests.id, .save(MessageTests.disk(MessageTests.xvdz), maxBytes: 1), milliseconds: 200
  )

  static func answer(_ kind: AnswerKind) -> [UInt8] {
    Answer.of(id: wanted.id, kind).encoded()
  }

  /// An agent that says something once it has heard the offer, from another thread.
  private func ending(
    silenceMilliseconds: UInt64? = nil, isEnding: Bool = false,
    _ messages: @escaping @Sendable () -> [UInt8]?
  ) throws -> (machine: OfferMachine, milliseconds: UInt64) {
    let pair = try UnixSocket.packetPair()
    let theirs = dup(pair.theirs.number)
    let isOver = LockedFlag()
    let finished = DispatchSemaphore(value: 0)
    Thread.detachNewThread {
      var buffer = [UInt8](repeating: 0, count: 256)
      _ = unsafe recv(theirs, &buffer, 256, 0)
      while !isOver.isSet, let message = messages() {
        _ = unsafe message.withUnsafeBytes { unsafe send(theirs, $0.baseAddress, $0.count, 0x4000) }
      }
      if isEnding { shutdown(theirs, Int32(SHUT_RDWR)) }
      finished.signal()
    }
    var offerer = Offerer(SocketCells(pair.takeOurs()))
    let start = MonotonicClock.nanoseconds
    let machine = offerer.offer(
      Self.wanted, silenceMilliseconds: silenceMilliseconds, signals: nil)
    let milliseconds = (MonotonicClock.nanoseconds - start) / 1_000_000
    isOver.set()
    offerer.end()
    if !isEnding { shutdown(theirs, Int32(SHUT_RDWR)) }
    finished.wait()
    close(theirs)
    return (machine, milliseconds)
  }

  /// An agent of version 1 that answers each offer, and what it was offered.
  @Test(arguments: [true, false]) func `an older agent`(answersTheSecond: Bool) throws {
    let pair = try UnixSocket.packetPair()
    let theirs = dup(pair.theirs.number)
    let heard = Heard()
    let finished = DispatchSemaphore(value: 0)
    Thread.detachNewThread {
      var buffer = [UInt8](repeating: 0, count: 256)
      while true {
        let count = unsafe recv(theirs, &buffer, 256, 0)
        if count <= 0 { break }
        let offer = [UInt8](buffer[..<count])
        heard.add(offer)
        guard case .message(.wanted(let wanted)) = Offer.read(offer) else { continue }
        let answer =
          wanted.version > 1
          ? Answer.unsupported(id: wanted.id, version: 1) : .of(id: wanted.id, .ready)
        if wanted.version == 1 && !answersTheSecond { continue }
        let message = answer.encoded(version: 1)
        _ = unsafe message.withUnsafeBytes { unsafe send(theirs, $0.baseAddress, $0.count, 0x4000) }
      }
      finished.signal()
    }
    var offerer = Offerer(SocketCells(pair.takeOurs()))
    let start = MonotonicClock.nanoseconds
    let wanted = Wanted(id: MessageTests.id, .reset(maxBytes: 5, .ignore), milliseconds: 200)
    let first = offerer.offer(wanted, silenceMilliseconds: nil, signals: nil)
    let milliseconds = (MonotonicClock.nanoseconds - start) / 1_000_000
    let second =
      answersTheSecond
      ? offerer.offer(
        Wanted(id: Bytes16(first: 5, last: 5), .cont, milliseconds: 200), silenceMilliseconds: nil,
        signals: nil) : nil
    offerer.end()
    finished.wait()
    close(theirs)
    let offers = heard.messages.map { String(decoding: $0, as: UTF8.self) }
    try #require(offers.count == (answersTheSecond ? 3 : 2), "\(offers)")
    #expect(offers[0] == "2 \(MessageTests.idText) reset,ignore-blockers 5 200")
    // Another id, what is left of the time, and nothing that version 1 does not have.
    #expect(offers[1].hasPrefix("1 ") && offers[1].contains(" reset 5 "))
    #expect(!offers[1].contains(MessageTests.idText) && first.wanted.milliseconds <= 200)
    #expect(first.wanted.version == 1)
    if let second {
      #expect(first.ending == .answered(.ready) && second.ending == .answered(.ready))
      #expect(offers[2] == "1 \(Wanted.text(Bytes16(first: 5, last: 5))) cont 200")
    } else {
      #expect(first.ending == .deadline)
      #expect(milliseconds >= 1_200 && milliseconds < 2_000)
    }
  }

  @Test func `silence`() throws {
    let (machine, milliseconds) = try ending(silenceMilliseconds: 50) { nil }
    #expect(machine.ending == .silence)
    #expect(milliseconds >= 50 && milliseconds < 1_000)
  }

  @Test func `a final answer`() throws {
    let kind = AnswerKind.committed(diskBytes: 8192, .running)
    let said = LockedFlag()
    let (machine, milliseconds) = try ending {
      if said.isSet { return nil }
      said.set()
      return Self.answer(kind)
    }
    #expect(machine.ending == .answered(kind))
    #expect(milliseconds < 1_000)
  }

  @Test func `what was said before the end is heard`() throws {
    let said = LockedFlag()
    let (machine, _) = try ending(isEnding: true) {
      if said.isSet { return nil }
      said.set()
      return Self.answer(.progress(bytes: 0, .stopped))
    }
    #expect(machine.ending == .gone)
    #expect(machine.hasStoppedGuest && machine.owesCont)
  }

  @Test func `nonsense ends it`() throws {
    let (machine, milliseconds) = try ending { [0, 255, 10] }
    #expect(machine.ending == .nonsense)
    #expect(milliseconds < 1_000)
  }

  @Test(arguments: [
    answer(.accepted), answer(.progress(bytes: 1, .unknown)),
    Answer.of(id: Bytes16(first: 1, last: 1), .ready).encoded(),
  ])
  func `a flood extends nothing and costs little`(message: [UInt8]) throws {
    let before = Self.processorMilliseconds
    let (machine, milliseconds) = try ending { message }
    let used = Self.processorMilliseconds - before
    #expect(machine.ending == .deadline)
    #expect(milliseconds >= 1_200 && milliseconds < 3_000)
    #expect(used < 240, "\(used) ms of the processor in \(milliseconds) ms")
  }

  /// Of this process's thread.
  private static var processorMilliseconds: Int {
    var time = timespec()
    _ = unsafe clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time)
    return time.tv_sec * 1000 + time.tv_nsec / 1_000_000
  }
}

extension Wanted {
  fileprivate static func text(_ id: Bytes16) -> String {
    var text = PlainText()
    text.append(hex: id)
    return String(decoding: text.bytes, as: UTF8.self)
  }
}

/// What was said, from any thread.
private final class Heard: @unchecked Sendable {
  private let lock = NSLock()
  private var list: [[UInt8]] = []
  var messages: [[UInt8]] { lock.withLock { list } }
  func add(_ message: [UInt8]) { lock.withLock { list.append(message) } }
}

/// Set once, from any thread.
private final class LockedFlag: @unchecked Sendable {
  private let lock = NSLock()
  private var value = false
  var isSet: Bool { lock.withLock { value } }
  func set() { lock.withLock { value = true } }
}
