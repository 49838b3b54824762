// Invariants:
// - `inspect` lists what QEMU's footers say, whatever the order of ids and the size of versions, and
//   says where it has found sections by their look only;
// - a whole migration stream is named: `inspect` lists it, `verify` says what it is, `wrap` refuses it,
//   also one that is larger than any device state may be;
// - what is no device state that a QEMU could be given is refused, each with its own words.

import Foundation
import TestSupport
import Testing

@Suite(.fewAtOnce, .timeLimit(.minutes(5)))
struct StateKindTests {
  let bench: Workbench
  init() throws { bench = try Workbench() }

  struct StateJSON: Decodable {
    let kind: String
    let machine: String?
    let sectionsFoundBy: String
    let sections: [Section]

    struct Section: Decodable {
      let kind: String
      let id: Int
      let name: String
      let version: Int
      let isFramed: Bool
    }
  }

  @Test(arguments: [("q35-rootport", 32), ("pc-i82551", 33)])
  func sectionsAreThoseOfTheFooters(name: String, count: Int) async throws {
    let path = Repository.fixture("states/\(name).qemu")
    let report = try await bench.stubsave("inspect", "--json", path).json(StateJSON.self)
    #expect(report.kind == "device-state" && report.machine == nil)
    #expect(report.sectionsFoundBy == "footers" && report.sections.count == count)
    #expect(report.sections.allSatisfy { $0.isFramed && $0.kind == "whole" })
    if name == "pc-i82551" { #expect(report.sections.contains { $0.version == 20_061_113 }) }
    let text = try await bench.stubsave("inspect", path)
    #expect(text.lines.contains("sections, as QEMU's footers say"))
    #expect(text.lines.count == count + 3)
  }

  @Test func whatWasFoundByLookIsSaid() async throws {
    let path = Repository.fixture("states/x08-pc-min-nousb-novga.dev")
    let report = try await bench.stubsave("inspect", "--json", path).json(StateJSON.self)
    #expect(report.sectionsFoundBy == "look" && report.sections.count == 29)
    #expect(!report.sections.contains { $0.isFramed })
    let text = try await bench.stubsave("inspect", path)
    #expect(text.lines.contains { $0.hasPrefix("sections, by their look:") })
  }

  @Test func aMissingFooterIsSaid() async throws {
    var state = try Data(
      contentsOf: Repository.fixtureURL("states/q35-rootport.qemu"))
    state[8 + 41 + 4137] ^= 1
    try bench.put(state, "state")
    let report = try await bench.stubsave("inspect", "--json", "state").json(StateJSON.self)
    #expect(report.sectionsFoundBy == "footers-and-look" && report.sections.count == 32)
    let text = try await bench.stubsave("inspect", "state")
    #expect(text.lines.count { $0.hasSuffix(", by look") } == 1)
  }

  @Test func aMigrationIsNamed() async throws {
    let path = Repository.fixture("states/migrate-none.qemu")
    let report = try await bench.stubsave("inspect", "--json", path).json(StateJSON.self)
    #expect(report.kind == "migration-stream" && report.machine == "none")
    #expect(
      report.sections.map { "\($0.kind) \($0.name)" } == [
        "start ram", "last part ram", "whole timer", "whole globalstate",
      ])
    let text = try await bench.stubsave("inspect", path)
    #expect(text.lines[0].contains("a whole migration stream of QEMU, with RAM, 747 bytes"))
    let refusal = try await bench.stubsave("wrap", path, "-o", "record", exits: 4)
    #expect(refusal.complaints.contains("is a whole migration stream of QEMU (machine none)"))
    let verdict = try await bench.stubsave("verify", path, exits: 4)
    #expect(verdict.lines[0].contains("is a whole migration stream of QEMU (machine none)"))
    // More than a device state may have: still named.
    try bench.put(
      Data(contentsOf: URL(fileURLWithPath: path)) + Data(repeating: 0x41, count: 9 << 20), "large")
    for command in ["wrap", "inspect", "verify"] {
      let large = try await bench.stubsave(command, "large", "--max-state", "1MiB", exits: 4)
      #expect(large.complaints.contains("is a whole migration stream of QEMU (machine none)"))
      let pipe = try await bench.shell(
        "cat large | \"$STUBSAVE\" \(command) - --max-state 1MiB", exits: 4)
      #expect(pipe.complaints.contains("is a whole migration stream of QEMU (machine none)"))
    }
    // From where standard input stands.
    try bench.put(Data("before".utf8) + bench.bytes("large"), "behind")
    let behind = try await bench.shell(
      "{ dd bs=1 count=6 of=/dev/null 2>/dev/null; \"$STUBSAVE\" wrap - --max-state 1MiB; } <behind",
      exits: 4)
    #expect(behind.complaints.contains("is a whole migration stream of QEMU (machine none)"))
    #expect(try bench.names() == ["behind", "large"])
  }

  @Test func aLongStateIsOverTheLimit() async throws {
    try bench.put(States.start + Data(repeating: 0x41, count: 9 << 20), "large")
    for command in ["inspect", "verify"] {
      let large = try await bench.stubsave(command, "large", "--max-state", "1MiB", exits: 7)
      #expect(large.complaints.contains("bytes is over the limit; --max-state raises it"))
    }
  }

  static let refused: [(String, Data, Int32, String)] = [
    ("zeros", Data("QEVM".utf8) + Data(count: 3000), 2, "with version 0 at offset 4"),
    (
      "no section", Data("QEVM".utf8) + [0, 0, 0, 3] + Data(count: 3000), 2,
      "no section at offset 8"
    ),
    (
      "version 2", Data("QEVM".utf8) + [0, 0, 0, 2] + States.start.dropFirst(8), 6, "with version 2"
    ),
    (
      "version 4", Data("QEVM".utf8) + [0, 0, 0, 4] + States.start.dropFirst(8), 6, "with version 4"
    ),
    ("cut", States.start.prefix(15), 3, "ends at offset 8"),
  ]

  @Test(arguments: refused.indices) func whatIsNoStateIsRefused(index: Int) async throws {
    let (name, state, code, words) = Self.refused[index]
    try bench.put(state, "state")
    for command in ["wrap", "inspect", "verify"] {
      let refusal = try await bench.stubsave(command, "state", exits: code)
      #expect(refusal.complaints.contains(words), "\(name): \(refusal.complaints)")
    }
    #expect(try bench.names() == ["state"])
  }
}
