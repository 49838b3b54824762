import Foundation
import QEMUMonitor
import SaveDisk
import SystemIO
import Testing
import Transfer
import Xen

@testable import Toolstack

// Invariants:
// - another version of the same machine is a warning, whatever else dom0 has recorded; another machine,
//   or other options of the same, are refused;
// - a state whose configuration section names another machine is refused, as is one whose machine this
//   QEMU does not know; forced, both are warnings;
// - the stubdomain's own line is a warning at most.

@Suite struct MachineCheckTests {
  static func origin(_ words: String...) -> Origin {
    Origin(uuid: nil, arguments: DeviceArguments(words: words.map { [UInt8]($0.utf8) }))
  }

  static let path = SystemPath(word: "state")
  static let known = [
    KnownMachine(name: [UInt8]("pc-i440fx-7.2".utf8), alias: [UInt8]("pc".utf8)),
    KnownMachine(name: [UInt8]("pc-i440fx-7.1".utf8), alias: []),
    KnownMachine(name: [UInt8]("xenfv-4.2".utf8), alias: [UInt8]("xenfv".utf8)),
  ]

  static func type(_ name: String) -> MachineType { MachineType([UInt8](name.utf8)) }

  static func check(
    configured: String? = nil, recorded: String? = nil, isForced: Bool = false
  ) -> MachineCheck {
    MachineCheck(
      configured: configured.map { type($0) }, recorded: recorded.map { type($0) }, path: path,
      isForced: isForced, option: "--force")
  }

  @Test(arguments: [
    ("xenfv-4.2", "xenfv", true), ("xenfv", "xenfv-3.1", true), ("pc-i440fx-7.2", "pc", true),
    ("pc-i440fx-7.2", "pc-i440fx-10.0", true), ("q35", "pc-q35-7.2", true), ("pc-1.3", "pc", true),
    ("pc", "q35", false), ("xenfv", "pc", false), ("xenfv-4.2", "xenpv", false),
    ("isapc", "pc", false),
  ])
  func `another version of a machine`(theirs: String, ours: String, isSame: Bool) throws {
    let rest = ["-device", "e1000", "-device", String(repeating: "x", count: 900)]
    let more = rest + rest + rest + rest  // more than is written down
    let saved = Self.origins(["-machine", "\(theirs),accel=xen"] + more)
    let lines = saved.lines(with: [], at: Date())
    let here = Self.origins(["-machine", "\(ours),accel=xen"] + more)
    if isSame {
      let warnings = try here.check(lines, Self.path, isForced: false)
      #expect(warnings.count == 1 && warnings[0].text.contains("another version of the same"))
    } else {
      #expect(throws: ToolError.self) { try here.check(lines, Self.path, isForced: false) }
    }
    for other in [
      ["-machine", "\(ours),accel=tcg"] + more, ["-machine", "\(ours),accel=xen"] + rest,
      ["-machine", "\(ours),accel=xen", "-device", "rtl8139"] + more,
    ] {
      let error = try #require(throws: ToolError.self) {
        try Self.origins(other).check(lines, Self.path, isForced: false)
      }
      #expect(error.status == .wouldDestroy)
    }
  }

  static func origins(_ words: [String]) -> Origin {
    Origin(uuid: nil, arguments: DeviceArguments(words: words.map { [UInt8]($0.utf8) }))
  }

  @Test func `the type has three places`() {
    for words in [
      ["-machine", "xenfv,a=b"], ["-M", "xenfv"], ["-machine", "accel=xen,type=xenfv,a=b"],
    ] {
      let arguments = DeviceArguments(words: words.map { [UInt8]($0.utf8) })
      #expect(arguments.machine == Self.type("xenfv"))
      #expect(arguments.with(Self.type("pc")).machine == Self.type("pc"))
      #expect(arguments.with(Self.type("xenfv")) == arguments)
    }
    #expect(
      DeviceArguments(words: [[UInt8]("-machine".utf8), [UInt8]("accel=xen".utf8)]).machine == nil)
    #expect(MachineType(objectType: [UInt8]("pc-q35-7.2-machine".utf8)) == Self.type("pc-q35-7.2"))
  }

  @Test(arguments: ["pc-i440fx-7.1", "none", "pc", "pc-i440fx-7.22"])
  func `a configuration section is compared byte for byte`(other: String) throws {
    let running = Self.type("pc-i440fx-7.2")
    let error = try #require(throws: ToolError.self) {
      try Self.check(configured: other).check(running: running, known: Self.known)
    }
    #expect(error.status == .wouldDestroy)
    #expect(error.text.text.contains("its configuration section says \(other), this QEMU has"))
    let forced = Self.check(configured: other, isForced: true)
    #expect(try forced.check(running: running, known: Self.known).count == 1)
    let same = Self.check(configured: "pc-i440fx-7.2")
    #expect(try same.check(running: running, known: Self.known).isEmpty)
  }

  @Test func `a machine that QEMU does not know`() throws {
    let running = Self.type("pc-i440fx-7.2")
    for name in ["pc-i440fx-2.0", "xenfv-3.1", "fuloong2e"] {
      let error = try #require(throws: ToolError.self) {
        try Self.check(recorded: name).check(running: running, known: Self.known)
      }
      #expect(error.text.text.contains("it was saved with \(name), which this QEMU does not know"))
    }
    for (name, count) in [("pc", 0), ("pc-i440fx-7.2", 0), ("pc-i440fx-7.1", 1), ("xenfv", 1)] {
      let check = Self.check(recorded: name)
      #expect(try check.check(running: running, known: Self.known).count == count)
    }
  }

  @Test func `a stubdomain is judged by what libxl has told it`() throws {
    let told = Self.origin("-machine", "xenfv").arguments
    let said = [UInt8]("qemu 7.2\nmachine pc-i440fx-7.2-machine\n".utf8)
    #expect(try Self.check().check(told: told, agents: said).count == 1)
    #expect(
      try Self.check().check(told: told, agents: [UInt8]("machine xenfv-4.2-machine\n".utf8))
        .isEmpty)
    #expect(try Self.check().check(told: nil, agents: said).isEmpty)
    #expect(try Self.check(configured: "xenfv-4.2").check(told: told, agents: []).isEmpty)
    let error = try #require(throws: ToolError.self) {
      try Self.check(configured: "pc-i440fx-7.2").check(told: told, agents: said)
    }
    #expect(error.status == .wouldDestroy)
  }
}
