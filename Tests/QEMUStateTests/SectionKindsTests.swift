import Foundation
import QEMUState
import SaveDisk
import TestSupport
import Testing

/// A state that is made here, and what its list must be.
struct MadeState {
  private(set) var bytes: [UInt8] = [UInt8]("QEVM".utf8) + [0, 0, 0, 3]
  private(set) var expected: [StateSection] = []
  let hasFooters: Bool

  init(hasFooters: Bool) { self.hasFooters = hasFooters }

  static func bigEndian(_ value: UInt32) -> [UInt8] {
    (0..<4).map { UInt8(truncatingIfNeeded: value >> UInt32(24 - 8 * $0)) }
  }

  mutating func put(_ other: [UInt8]) { bytes += other }

  mutating func section(
    _ name: String, id: UInt32, instance: UInt32 = 0, version: UInt32 = 1,
    kind: StateSection.Kind = .full, payload: [UInt8]
  ) {
    let offset = bytes.count
    bytes += [kind.rawValue] + Self.bigEndian(id)
    if kind == .full || kind == .start {
      bytes += [UInt8(name.utf8.count)] + [UInt8](name.utf8) + Self.bigEndian(instance)
      bytes += Self.bigEndian(version)
    }
    let header = bytes.count - offset
    bytes += payload
    if hasFooters { bytes += [0x7E] + Self.bigEndian(id) }
    expected.append(
      StateSection(
        kind: kind, offset: UInt64(offset), id: id, name: [UInt8](name.utf8), instance: instance,
        version: version, headerBytes: header, payloadBytes: UInt64(payload.count),
        isFramed: hasFooters))
  }

  mutating func end() { bytes.append(0) }
}

@Suite struct SectionKindsTests {
  /// As QEMU saves a machine with a bridge and an eepro100, by priority and with a date.
  static func usual(hasFooters: Bool) -> MadeState {
    var state = MadeState(hasFooters: hasFooters)
    state.section("0000:00:01.0/pcie-root-port", id: 38, payload: [UInt8](repeating: 3, count: 90))
    state.section("timer", id: 0, version: 2, payload: [0x7E, 0, 0, 0, 0, 9, 9, 0x7E, 0, 0])
    state.section("cpu_common", id: 4, payload: [])
    state.section("0000:00:02.0/eeprom", id: 17, version: 20_061_113, payload: [4, 4, 4, 0x7E])
    state.section("PCIBUS", id: 900_000, instance: 7, payload: [UInt8](repeating: 0, count: 500))
    state.section("acpi_build", id: 41, payload: [1])
    state.end()
    return state
  }

  @Test(arguments: [false, true]) func `ids in any order, gaps, dates`(hasFooters: Bool) {
    let state = Self.usual(hasFooters: hasFooters)
    #expect(SectionList.scan(state.bytes.rawSpan) == state.expected)
  }

  @Test func `a whole migration stream`() throws {
    var state = MadeState(hasFooters: true)
    state.put([7, 0, 0, 0, 2] + [UInt8]("pc".utf8) + [8, 0, 1, 0, 4, 1, 2, 3, 4])
    state.section("ram", id: 2, version: 4, kind: .start, payload: [UInt8](repeating: 1, count: 50))
    for _ in 0..<3 {
      state.section("ram", id: 2, version: 4, kind: .part, payload: [4, 0, 0x7E, 0, 0, 0, 2, 9, 2])
    }
    state.put([8, 0, 4, 0, 0])
    state.section("ram", id: 2, version: 4, kind: .lastPart, payload: [0, 16])
    state.section("timer", id: 0, version: 2, payload: [UInt8](repeating: 0, count: 24))
    state.section("globalstate", id: 4, payload: [UInt8](repeating: 0x7E, count: 104))
    state.end()
    state.put([6, 0, 0, 0, 3] + [UInt8]("{ }".utf8))
    #expect(SectionList.scan(state.bytes.rawSpan) == state.expected)
    #expect(StateHead(parsing: state.bytes.rawSpan).kind == .migrationStream)
  }

  @Test func `zeros behind the end change nothing`() {
    for hasFooters in [false, true] {
      var state = Self.usual(hasFooters: hasFooters)
      state.put([UInt8](repeating: 0, count: 5000))
      let found = SectionList.scan(state.bytes.rawSpan)
      #expect(found.map(\.offset) == state.expected.map(\.offset))
      if hasFooters { #expect(found == state.expected) }
    }
  }

  /// A missing footer costs its section's end at most.
  @Test func `a damaged footer hides nothing`() {
    let state = Self.usual(hasFooters: true)
    for damaged in state.expected.indices {
      var bytes = state.bytes
      let section = state.expected[damaged]
      bytes[Int(section.offset) + section.headerBytes + Int(section.payloadBytes)] ^= 0x40
      let found = SectionList.scan(bytes.rawSpan)
      #expect(found.map(\.offset) == state.expected.map(\.offset), "\(damaged)")
      #expect(found.count(where: { !$0.isFramed }) == 1 && !found[damaged].isFramed)
    }
  }

  @Test func `an id comes once`() {
    var state = MadeState(hasFooters: false)
    state.section("timer", id: 0, payload: [])
    state.section("first", id: 5, payload: [])
    let count = state.expected.count
    state.section("again", id: 5, payload: [1, 2, 3])
    state.end()
    #expect(SectionList.scan(state.bytes.rawSpan).count == count)
  }

  /// What costs most: footers everywhere, headers everywhere, commands in a row, each with what makes
  /// the search go on.
  static let hostile: [(String, [UInt8])] = [
    ("footers", [0x7E, 0, 0, 0, 0]),
    ("footers and commands", [8, 0, 1, 0, 5, 0x7E, 0, 0, 0, 0]),
    ("commands", [8, 0, 1, 0, 0]),
    (
      "footers and headers",
      [0x7E, 0, 0, 0, 0, 4, 0, 0, 0, 1, 250] + [UInt8](repeating: 65, count: 30)
    ),
    ("headers of one id", [4, 0, 0, 0, 0, 4] + [UInt8](repeating: 65, count: 4)),
    ("headers within headers", [4, 4, 4, 4, 4, 255] + [UInt8](repeating: 66, count: 120)),
    ("ends", [0x7E, 0, 0, 0, 0, 0, 6, 0, 0, 0, 0]),
    ("parts", [0x7E, 0, 0, 0, 0, 2, 0, 0, 0, 0]),
  ]

  /// Of this thread: others cost nothing.
  static func seconds(_ unit: [UInt8], _ count: Int, _ mark: UInt8) -> Double {
    var state = [UInt8]("QEVM".utf8) + [0, 0, 0, 3, mark, 0, 0, 0, 0, 5] + [UInt8]("timer".utf8)
    state += [0, 0, 0, 0, 0, 0, 0, 2]
    while state.count < count { state += unit }
    let start = clock(CLOCK_THREAD_CPUTIME_ID)
    #expect(SectionList.scan(state.rawSpan).count <= StateSection.maxCount)
    return clock(CLOCK_THREAD_CPUTIME_ID) - start
  }

  private static func clock(_ id: clockid_t) -> Double {
    var now = timespec()
    unsafe clock_gettime(id, &now)
    return Double(now.tv_sec) + Double(now.tv_nsec) / 1e9
  }

  @Test(arguments: hostile.indices, [UInt8(4), 1])
  func `time grows with the length only`(index: Int, mark: UInt8) {
    let (name, unit) = Self.hostile[index]
    let base = Thoroughness.count(1 << 20, debug: 1 << 15)
    let small = (0..<3).map { _ in Self.seconds(unit, base, mark) }.min() ?? 0
    let large = Self.seconds(unit, 16 * base, mark)
    // 16 times as much; a search that starts anew at each place takes 256 times as long.
    #expect(large < 64 * max(small, 1e-4), "\(name): \(small) s, then \(large) s")
  }
}
