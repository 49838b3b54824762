import Foundation
import SaveDisk
import TestSupport
import Testing
import Transfer

@testable import QEMUState

// Invariants:
// - what a state is shows in its first bytes: a device state, a migration stream, or why it is none;
// - the configuration section's machine is read, whatever subsections QEMU puts behind it;
// - it crosses in the decoder's message, and no other bytes are taken for it;
// - cut anywhere, what is no device state does not become one, and there is no trap.

@Suite struct StateHeadTests {
  static let magic = [UInt8]("QEVM".utf8) + [0, 0, 0, 3]
  static let section = begin(4, "timer", id: 0) + [UInt8](repeating: 0, count: 24)

  static func begin(
    _ mark: UInt8, _ name: String, id: UInt8, instance: UInt8 = 0, version: UInt8 = 2
  ) -> [UInt8] {
    [mark, 0, 0, 0, id, UInt8(name.utf8.count)] + [UInt8](name.utf8)
      + [0, 0, 0, instance, 0, 0, 0, version]
  }

  static func configuration(_ machine: String) -> [UInt8] {
    [7, 0, 0, 0, UInt8(machine.utf8.count)] + [UInt8](machine.utf8)
  }

  static func subsection(_ name: String, _ body: [UInt8]) -> [UInt8] {
    [5, UInt8(name.utf8.count)] + [UInt8](name.utf8) + [0, 0, 0, 1] + body
  }

  static let capabilities = subsection(
    "configuration/capabilities", [0, 0, 0, 2, 3] + [UInt8]("one".utf8) + [1, 0x61])
  static let uuid = subsection("configuration/uuid", [UInt8](repeating: 9, count: 16))
  static let pages = subsection("configuration/target-page-bits", [0, 0, 0, 12])

  struct Row: Sendable {
    let name: String
    let bytes: [UInt8]
    let kind: StateHead.Kind
    var machine: String?
    var offset: UInt64 = 8
    var version: UInt32 = 3
  }

  static let rows: [Row] = [
    Row(name: "a device", bytes: magic + section, kind: .deviceState),
    Row(
      name: "configuration", bytes: magic + configuration("pc-i440fx-7.2") + section,
      kind: .deviceState, machine: "pc-i440fx-7.2", offset: 26),
    Row(
      name: "all subsections",
      bytes: magic + configuration("q35") + pages + capabilities + uuid + section,
      kind: .deviceState, machine: "q35",
      offset: UInt64(16 + pages.count + capabilities.count + uuid.count)),
    Row(name: "RAM", bytes: magic + begin(1, "ram", id: 2), kind: .migrationStream),
    Row(
      name: "configuration, RAM", bytes: magic + configuration("none") + begin(1, "ram", id: 2),
      kind: .migrationStream, machine: "none", offset: 17),
    Row(name: "a part", bytes: magic + [2, 0, 0, 0, 1], kind: .migrationStream),
    Row(name: "a command", bytes: magic + [8, 0, 1, 0, 0], kind: .migrationStream),
    Row(
      name: "an unknown part of the configuration",
      bytes: magic + configuration("pc") + subsection("configuration/later", [1]) + section,
      kind: .migrationStream, machine: "pc", offset: 15),
    Row(
      name: "virtio-mem", bytes: magic + begin(4, "0000:00:03.0/virtio-mem-device-early", id: 9),
      kind: .migrationStream),
    Row(name: "zeros behind", bytes: magic + [UInt8](repeating: 0, count: 500), kind: .noSection),
    Row(name: "no name", bytes: magic + begin(4, "", id: 0), kind: .noSection),
    Row(name: "a name with a space", bytes: magic + begin(4, "a b", id: 0), kind: .noSection),
    Row(
      name: "a machine without end",
      bytes: magic + [7, 0, 0, 2, 0] + [UInt8](repeating: 65, count: 600),
      kind: .noSection),
    Row(
      name: "nothing but zeros", bytes: [UInt8]("QEVM".utf8) + [UInt8](repeating: 0, count: 96),
      kind: .otherVersion, offset: 4, version: 0),
    Row(
      name: "version 2", bytes: [UInt8]("QEVM".utf8) + [0, 0, 0, 2] + section,
      kind: .otherVersion, offset: 4, version: 2),
    Row(
      name: "no version", bytes: [UInt8]("QEVM".utf8) + [0, 0], kind: .cut, offset: 6, version: 0),
    Row(name: "nothing behind", bytes: magic, kind: .cut),
    Row(name: "half a header", bytes: magic + section.prefix(10), kind: .cut),
    Row(
      name: "something else", bytes: [UInt8]("QEVN".utf8), kind: .notAState, offset: 0, version: 0),
    Row(name: "nothing", bytes: [], kind: .notAState, offset: 0, version: 0),
  ]

  static func received(_ message: [UInt8], _ stateBytes: UInt64) throws -> StateHead {
    var cursor = ByteCursor(message.rawSpan)
    return try StateHead(parsing: &cursor, stateBytes: stateBytes)
  }

  static func judged(_ message: [UInt8], _ stateBytes: UInt64) -> StateHead? {
    try? received(message, stateBytes)
  }

  static func head(_ bytes: [UInt8]) throws -> StateHead {
    let file = try MemoryFile(bytes)
    return try StateHead(of: file.descriptor, stateBytes: UInt64(bytes.count))
  }

  static func kind(_ bytes: [UInt8]) -> StateHead.Kind { StateHead(parsing: bytes.rawSpan).kind }

  @Test(arguments: rows.indices) func `what it is`(index: Int) throws {
    let row = Self.rows[index]
    let head = try Self.head(row.bytes)
    #expect(head.kind == row.kind, "\(row.name)")
    #expect(head.machine.map { String(decoding: $0, as: UTF8.self) } == row.machine, "\(row.name)")
    #expect(head.offset == row.offset && head.version == row.version, "\(row.name): \(head)")
    #expect(StateHead(parsing: row.bytes.rawSpan) == head)
    var message: [UInt8] = []
    head.encode(into: &message)
    #expect(message.count == StateHead.messageBytes)
    let stateBytes = UInt64(row.bytes.count)
    #expect(try Self.received(message, stateBytes) == head)
    for bit in 0..<(8 * message.count) {
      var damaged = message
      damaged[bit / 8] ^= 1 << UInt8(bit % 8)
      let found = Self.judged(damaged, stateBytes)
      #expect(found != head && found?.offset ?? 0 <= stateBytes)
    }
  }

  @Test(arguments: rows.indices) func `cut anywhere`(index: Int) {
    let row = Self.rows[index]
    for count in 0..<row.bytes.count {
      let kind = Self.kind([UInt8](row.bytes.prefix(count)))
      if count < 4 { #expect(kind == .notAState) }
      // Less of one is never a device state, nor another version.
      if kind == .deviceState || kind == .otherVersion { #expect(kind == row.kind, "\(row.name)") }
    }
  }

  @Test func `every real device state is one`() throws {
    let folder = Repository.root.appendingPathComponent("fixtures/states")
    let names = try FileManager.default.contentsOfDirectory(atPath: folder.path)
    var counts: [StateHead.Kind: Int] = [:]
    for name in names where name.hasSuffix(".dev") {
      let bytes = try Repository.bytes("fixtures/states/\(name)")
      let head = StateHead(parsing: bytes.rawSpan)
      counts[head.kind, default: 0] += 1
      #expect(head.machine == nil && head.offset == 8)
    }
    #expect(counts == [.deviceState: 19])
  }
}
