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
  let bench: NewFileTests.Directory
  init() throws { bench = try NewFileTests.Directory() }

  private func path(_ name: String) throws -> SystemPath {
    try bench.path(name)
  }

  private func url(_ name: String) -> URL { bench.url.appendingPathComponent(name) }

  private func bytes(_ name: String) -> [UInt8] {
    (try? Data(contentsOf: url(name))).map { [UInt8]($0) } ?? []
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
      let kept = bytes("log.older") + bytes("log")
      #expect(kept.count <= limit && kept.count >= min(end, limit / 2))
      #expect(kept == [UInt8](text[(end - kept.count)..<end]))
    }
    let loss = log.takeLoss()
    #expect(loss == nil)
  }

  @Test func `a gibibyte`() throws {
    let limit = 2 << 20
    var log = try ConsoleLog(try path("log"), maxBytes: UInt64(limit))
    let piece = [UInt8](repeating: 0x61, count: 2048)
    for round in 0..<(1 << 30) / piece.count {
      log.append(piece)
      if round % 4096 == 0 {
        let sizes = ["log", "log.older"].compactMap {
          try? FileManager.default.attributesOfItem(atPath: url($0).path)[.size] as? Int
        }
        #expect(sizes.reduce(0, +) <= limit)
      }
    }
    #expect(bytes("log.older").count == limit / 2)
  }

  @Test func `without a limit`() throws {
    var log = try ConsoleLog(try path("log"), maxBytes: 0)
    log.append([UInt8](repeating: 1, count: 3_000_000))
    #expect(bytes("log").count == 3_000_000)
    #expect(bench.names == ["log"])
  }

  @Test func `what is there stays, and the older half of another one goes`() throws {
    try Data("before".utf8).write(to: url("log"))
    try Data("older".utf8).write(to: url("log.older"))
    var log = try ConsoleLog(try path("log"), maxBytes: 1000)
    log.append([UInt8](" after".utf8))
    #expect(bytes("log") == [UInt8]("before after".utf8))
    #expect(bytes("log.older") == [UInt8]("older".utf8))
    try Data().write(to: url("log"))
    _ = consume log
    log = try ConsoleLog(try path("log"), maxBytes: 1000)
    #expect(bench.names == ["log"])
  }

  @Test func `no link is followed`() throws {
    try Data().write(to: url("elsewhere"))
    try FileManager.default.createSymbolicLink(
      at: url("log"), withDestinationURL: url("elsewhere"))
    let link = try path("log")
    #expect(throws: SystemError.self) { try ConsoleLog(link, maxBytes: 1000).discard() }
  }

  @Test func `no room`() throws {
    var log = try ConsoleLog(try #require(SystemPath("/dev/full")), maxBytes: 0)
    for _ in 0..<10 { log.append([UInt8](repeating: 1, count: 2048)) }
    let loss = log.takeLoss()
    #expect(loss?.bytes == 20_480 && loss?.failure?.errno == Errno.noSpace)
    let nothing = log.takeLoss()
    #expect(nothing == nil)
  }
}

extension ConsoleLog {
  fileprivate consuming func discard() {}
}
