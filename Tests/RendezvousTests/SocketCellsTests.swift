import Foundation
import Rendezvous
import SystemIO
import TestSupport
import Testing

// Invariants:
// - of several messages the newest is seen, and nothing is seen twice;
// - a packet that is too long shows as nonsense; the other side's end as `.gone`;
// - a side that never reads does not block the other.

@Suite struct SocketCellsTests {
  private func pair() throws -> (Int32, Int32) {
    var numbers: [Int32] = [0, 0]
    let kind =
      Int32(SOCK_SEQPACKET.rawValue) | Int32(SOCK_CLOEXEC.rawValue)
      | Int32(SOCK_NONBLOCK.rawValue)
    guard unsafe socketpair(AF_UNIX, kind, 0, &numbers) == 0 else { throw POSIXError(.EIO) }
    return (numbers[0], numbers[1])
  }

  @Test func `the newest counts`() throws {
    let numbers = try pair()
    var dom0 = SocketCells(FileDescriptor(owning: numbers.0))
    var agent = SocketCells(FileDescriptor(owning: numbers.1))
    #expect(try agent.look() == nil)
    for message in ["1 idle", "x", "1 last"] { try dom0.say([UInt8](message.utf8)) }
    #expect(try agent.look() == [UInt8]("1 last".utf8))
    #expect(try agent.look() == nil)
    try agent.say([UInt8]("back".utf8))
    #expect(try dom0.look() == [UInt8]("back".utf8))
  }

  @Test func `too long is nonsense`() throws {
    let numbers = try pair()
    var dom0 = SocketCells(FileDescriptor(owning: numbers.0))
    var agent = SocketCells(FileDescriptor(owning: numbers.1))
    try dom0.say([UInt8](repeating: 0x31, count: 5000))
    let seen = try #require(try agent.look())
    #expect(seen.count == 256)
    #expect(Offer.read(seen) == .nonsense)
  }

  @Test func `the other side's end`() throws {
    let numbers = try pair()
    var agent = SocketCells(FileDescriptor(owning: numbers.1))
    close(numbers.0)
    do throws(CellError) {
      _ = try agent.look()
      Issue.record("not noticed")
    } catch {
      #expect(error == .gone)
    }
  }

  @Test func `nobody reads`() throws {
    let numbers = try pair()
    var dom0 = SocketCells(FileDescriptor(owning: numbers.0))
    for _ in 0..<10_000 { try dom0.say([UInt8]("1 idle".utf8)) }
    var agent = SocketCells(FileDescriptor(owning: numbers.1))
    #expect(try agent.look() == [UInt8]("1 idle".utf8))
  }
}
