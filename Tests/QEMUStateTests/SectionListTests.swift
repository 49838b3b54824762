import Foundation
import QEMUState
import SaveDisk
import TestSupport
import Testing

// Invariants:
// - the sections of every real state are found, each where it is, and nothing else; those with a
//   footer are known to have one;
// - ids in any order and with gaps, versions that are dates, parts of RAM, commands: all are listed;
// - one that is damaged, or a missing footer, hides no other;
// - the time grows with the state's length and no faster, whatever it holds;
// - cut and damaged states make no trap.

@Suite struct SectionListTests {
  struct Row: Equatable {
    let offset: UInt64
    let id: UInt32
    let instance: UInt32
    let version: UInt32
    let headerBytes: Int
    let payloadBytes: UInt64
    let name: String
  }

  /// By file, as `fixtures/states/sections.tsv` has them.
  static let expected: [String: [Row]] = {
    var rows: [String: [Row]] = [:]
    let text = (try? Repository.text("fixtures/states/sections.tsv")) ?? ""
    for line in text.split(separator: "\n") where !line.hasPrefix("#") {
      let fields = line.split(separator: "\t").map(String.init)
      guard fields.count == 8, let offset = UInt64(fields[1]), let id = UInt32(fields[2]),
        let instance = UInt32(fields[3]), let version = UInt32(fields[4]),
        let header = Int(fields[5]), let payload = UInt64(fields[6])
      else { continue }
      rows[fields[0], default: []].append(
        Row(
          offset: offset, id: id, instance: instance, version: version, headerBytes: header,
          payloadBytes: payload, name: fields[7]))
    }
    return rows
  }()

  @Test func `there are states`() {
    #expect(Self.expected.count == 19)
    #expect(Self.expected.values.map(\.count).reduce(0, +) > 500)
  }

  @Test(arguments: expected.keys.sorted())
  func `sections are found`(file: String) throws {
    let bytes = try Repository.bytes("fixtures/states/\(file)")
    let found = SectionList.scan(bytes.rawSpan).map {
      Row(
        offset: $0.offset, id: $0.id, instance: $0.instance, version: $0.version,
        headerBytes: $0.headerBytes, payloadBytes: $0.payloadBytes,
        name: String(decoding: $0.name, as: UTF8.self))
    }
    let framed = SectionList.scan(bytes.rawSpan).count(where: \.isFramed)
    #expect(framed == (file.hasPrefix("x") || file.hasPrefix("q01") ? 0 : found.count))
    let expected = try #require(Self.expected[file])
    #expect(found.map(\.name) == expected.map(\.name))
    for (one, other) in zip(found, expected) where one != other {
      Issue.record("\(one) instead of \(other)")
    }
  }

  @Test func `damage makes no trap`() throws {
    let bytes = try Repository.bytes("fixtures/states/x08-pc-min-nousb-novga.dev")
    for end in stride(from: 0, to: bytes.count, by: 7) {
      _ = SectionList.scan([UInt8](bytes[..<end]).rawSpan)
    }
    var generator = SeededGenerator(seed: 9)
    for _ in 0..<Thoroughness.count(400, debug: 60) {
      var damaged = bytes
      for _ in 0..<8 {
        damaged[Int(generator.next() % UInt64(bytes.count))] = UInt8(generator.next() & 0xFF)
      }
      #expect(SectionList.scan(damaged.rawSpan).count <= 4096)
    }
  }
}
