import Foundation
import SystemIO
import TestSupport
import Testing

@testable import Toolstack

// Invariants:
// - a log and its older half together are never larger than the limit, however much is written at a time;
// - they hold the last of what was written, without a gap, and at least half the limit of it;
// - what cannot be written is counted, and ends nothing.

@Suite struct ConsoleLogTests {
  let bench: Workbench
  init() throws { bench = try Workbench() }

  private func path(_ name: String) throws -> SystemPath {
    try #require(SystemPath(bench.url(name).path))
  }

  private func bytes(_ name: String) throws -> [UInt8] {
    (try? bench.bytes(name)).map { [UInt8]($0) } ?? []
  }

  @Test(arguments: [1, 7, 2048, 100_000])
  func `the last is kept`(piece: Int) throws {
    let limit = 20_000
    var log = try ConsoleLog(try path("log"), maxBytes: UInt64(limit))
    let text = (0..<123_456).map { UInt8(truncatingIfNeeded: $0 % 251) }
    var end = 0
    while end < text.count {
      let next = min(end + piece, text.count)
      log.append([UInt8](text[end..<next]))
      end = next
      if piece == 1 && end % 997 != 0 { continue }
      let kept = try bytes("log.older") + bytes("log")
      #expect(kept.count <= limit && kept.count >= min(end, limit / 2))
      #expect(kept == [UInt8](text[(end - kept.count)..<end]))
    }
    #expect(log.takeLoss() == nil)
  }

  @Test func `a gibibyte`() throws {
    let limit = 2 << 20
    var log = try ConsoleLog(try path("log"), maxBytes: UInt64(limit))
    let piece = [UInt8](repeating: 0x61, count: 2048)
    for round in 0..<(1 << 30) / piece.count {
      log.append(piece)
      if round % 4096 == 0 {
        let sizes = try ["log", "log.older"].compactMap {
          try? FileManager.default.attributesOfItem(atPath: bench.url($0).path)[.size] as? Int
        }
        #expect(sizes.reduce(0, +) <= limit)
      }
    }
    #expect(try bytes("log.older").count == limit / 2)
  }

  @Test func `without a limit`() throws {
    var log = try ConsoleLog(try path("log"), maxBytes: 0)
    log.append([UInt8](repeating: 1, count: 3_000_000))
    #expect(try bytes("log").count == 3_000_000)
    #expect(try bench.names() == ["log"])
  }

  @Test func `what is there stays, and the older half of another one goes`() throws {
    try bench.put(Data("before".utf8), "log")
    try bench.put(Data("older".utf8), "log.older")
    var log = try ConsoleLog(try path("log"), maxBytes: 1000)
    log.append([UInt8](" after".utf8))
    #expect(try bytes("log") == [UInt8]("before after".utf8))
    #expect(try bytes("log.older") == [UInt8]("older".utf8))
    try bench.put(Data(), "log")
    _ = consume log
    log = try ConsoleLog(try path("log"), maxBytes: 1000)
    #expect(try bench.names() == ["log"])
  }

  @Test func `no link is followed`() throws {
    try bench.put(Data(), "elsewhere")
    try FileManager.default.createSymbolicLink(
      at: bench.url("log"), withDestinationURL: bench.url("elsewhere"))
    #expect(throws: SystemError.self) { try ConsoleLog(try path("log"), maxBytes: 1000).discard() }
  }

  @Test func `no room`() throws {
    var log = try ConsoleLog(try #require(SystemPath("/dev/full")), maxBytes: 0)
    for _ in 0..<10 { log.append([UInt8](repeating: 1, count: 2048)) }
    let loss = try #require(log.takeLoss())
    #expect(loss.bytes == 20_480 && loss.failure?.errno == Errno.noSpace)
    #expect(log.takeLoss() == nil)
  }
}

extension ConsoleLog {
  fileprivate consuming func discard() {}
}
