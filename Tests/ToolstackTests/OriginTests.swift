import Foundation
import SaveDisk
import SystemIO
import Testing
import Transfer
import Xen

@testable import Toolstack

// Invariants:
// - what dom0 writes about a state is found again, whatever the agent has said beside it;
// - the agent cannot speak for dom0, and that it tried to, in an archive, is told;
// - other devices are refused, and named; forced, they are a warning.

@Suite struct OriginTests {
  static func origin(_ device: String, uuid: String = "one") -> Origin {
    Origin(
      uuid: [UInt8](uuid.utf8),
      arguments: DeviceArguments(words: ["-device", device].map { [UInt8]($0.utf8) }))
  }

  static let path = SystemPath(word: "state")
  static let agents = [UInt8]("qemu 7.2\nmachine pc\n".utf8)

  @Test func `what was written is the same again`() throws {
    let origin = Self.origin("e1000")
    let lines = origin.lines(with: Self.agents, at: Date(timeIntervalSince1970: 0))
    let text = String(decoding: lines, as: UTF8.self)
    #expect(text.hasPrefix("dom0 time 1970-01-01T00:00:00Z\ndom0 uuid one\ndom0 devices "))
    #expect(text.hasSuffix("dom0 device -device e1000\nqemu 7.2\nmachine pc\n"))
    #expect(Origin.agents(lines) == Self.agents)
    #expect(try origin.check(lines, Self.path, isForced: false).isEmpty)
  }

  @Test func `other devices are refused and named`() throws {
    let lines = Self.origin("e1000").lines(with: Self.agents, at: Date())
    let other = Self.origin("rtl8139", uuid: "two")
    let error = try #require(throws: ToolError.self) {
      try other.check(lines, Self.path, isForced: false)
    }
    #expect(error.status == .wouldDestroy)
    let text = String(decoding: error.text.bytes, as: UTF8.self)
    #expect(text.contains("it had -device e1000, this one has -device rtl8139"))
    #expect(try other.check(lines, Self.path, isForced: true).count == 2)
  }

  @Test func `the agent cannot speak for dom0`() throws {
    let forged = [UInt8]("dom0 devices 00\ndom0 uuid two\nqemu 7.2\n".utf8)
    let origin = Self.origin("e1000")
    let lines = origin.lines(with: forged, at: Date())
    #expect(Origin.agents(lines) == [UInt8]("qemu 7.2\n".utf8))
    #expect(try origin.check(lines, Self.path, isForced: false).isEmpty)
  }

  @Test func `lines of an archive are nobody's but its writer's`() throws {
    #expect(Origin.warning(foreign: Self.agents) == nil)
    #expect(Origin.warning(foreign: []) == nil)
    #expect(Origin.warning(foreign: [UInt8]("qemu dom0 7.2\n dom0 uuid two\n".utf8)) == nil)
    for forged in ["dom0 uuid two\n", "qemu 7.2\ndom0 x", "\n\ndom0 devices 00\nmachine pc\n"] {
      let text = try #require(Origin.warning(foreign: [UInt8](forged.utf8)))
      #expect(text.text.contains("they are ignored"))
      #expect(!Origin.speaksForDom0(Origin.agents([UInt8](forged.utf8))))
    }
  }

  @Test func `a long tale of the agent's is cut at a line`() {
    let tale = [UInt8](String(repeating: "0123456789\n", count: 370).utf8)
    let lines = Self.origin("e1000").lines(with: tale, at: Date())
    #expect(lines.count <= 4096 && lines.last == UInt8(ascii: "\n"))
    #expect(Origin.agents(lines).count > 3800)
  }

  @Test func `a state that says nothing of devices is not compared`() throws {
    #expect(try Self.origin("e1000").check(Self.agents, Self.path, isForced: false).isEmpty)
  }
}
