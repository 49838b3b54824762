import Foundation
import SaveDisk
import SystemIO
import TestSupport
import Testing
import Transfer
import Xen

@testable import Toolstack

// Invariants:
// - of each row of docs/devices.md stubsave says what stands there, and names a difference that it refuses;
//   Tests/QEMU/devices.py sees that QEMU does, too, and that nothing is restored that QEMU refuses;
// - a state of whose devices dom0 has written down only the first is compared as a whole.

@Suite struct DeviceTableTests {
  struct Row: CustomTestStringConvertible {
    let name: String
    let saved: [String]
    let restored: [String]
    let isTaken: Bool
    let isRestored: Bool

    var testDescription: String { "\(name): \(saved.joined(separator: " "))" }
  }

  static let rows: [Row] = {
    let url = Repository.root.appendingPathComponent("docs/devices.md")
    let text = (try? String(contentsOf: url, encoding: .utf8)) ?? ""
    return text.split(separator: "\n").compactMap { line in
      let cells = line.split(separator: "|").map { $0.trimmingCharacters(in: .whitespaces) }
      guard cells.count == 5, cells[1].hasPrefix("`"), cells[2].hasPrefix("`") else { return nil }
      let options = cells[1...2].map { cell in
        var words = cell.dropFirst().dropLast().split(separator: " ").map(String.init)
        for (option, value) in [("-machine", "pc"), ("-m", "64")] where !words.contains(option) {
          words += [option, value]
        }
        return words
      }
      return Row(
        name: cells[0], saved: options[0], restored: options[1], isTaken: cells[3] == "takes",
        isRestored: cells[4] == "restores")
    }
  }()

  static func origin(_ words: [String]) -> Origin {
    Origin(uuid: nil, arguments: DeviceArguments(words: words.map { [UInt8]($0.utf8) }))
  }

  static let path = SystemPath(word: "state")

  @Test func `the table is read`() {
    #expect(Self.rows.count >= 50)
    #expect(Self.rows.contains { !$0.isRestored && $0.isTaken })
    // What QEMU does not take is never given to it.
    #expect(Self.rows.allSatisfy { $0.isTaken || !$0.isRestored })
  }

  @Test(arguments: rows) func `a row`(row: Row) throws {
    let lines = Self.origin(row.saved).lines(with: [], at: Date())
    let ours = Self.origin(row.restored)
    if row.isRestored {
      _ = try ours.check(lines, Self.path, isForced: false)
      return
    }
    let error = try #require(throws: ToolError.self) {
      try ours.check(lines, Self.path, isForced: false)
    }
    #expect(error.status == .wouldDestroy)
    let text = error.text.text
    #expect(text.contains("it had -") || text.contains("this one has -"), "\(text)")
    #expect(try !ours.check(lines, Self.path, isForced: true).isEmpty)
  }

  @Test func `a device more or less is told`() throws {
    let disk = { (index: Int) in ["-drive", "file=/dev/xvda,if=ide,index=\(index),media=disk"] }
    let two = Self.origin(disk(0) + disk(1))
    let one = Self.origin(disk(0))
    let more = try two.check(one.lines(with: [], at: Date()), Self.path, isForced: false)
    #expect(more.map(\.text).joined().contains("has more devices"))
    #expect(more.map(\.text).joined().contains("if=ide,index=1,media=disk"))
    let less = try one.check(two.lines(with: [], at: Date()), Self.path, isForced: false)
    #expect(less.map(\.text).joined().contains("lacks drives"))
    #expect(try one.check(one.lines(with: [], at: Date()), Self.path, isForced: false).isEmpty)
  }

  @Test func `what was not all written down is compared as a whole`() throws {
    let many = (0..<80).flatMap { ["-device", "e1000,netdev=net\($0),addr=\($0),id=a-long-name"] }
    let lines = Self.origin(many).lines(with: [], at: Date())
    #expect(try Self.origin(many).check(lines, Self.path, isForced: false).isEmpty)
    for other in [many + ["-usb"], many.dropLast(2) + ["-device", "rtl8139"]] {
      #expect(throws: ToolError.self) {
        try Self.origin(other).check(lines, Self.path, isForced: false)
      }
    }
  }
}
