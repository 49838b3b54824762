import Foundation
import SaveDisk
import SystemIO
import TestSupport
import Testing
import Transfer

@testable import Toolstack

// Invariants:
// - a state that does not fit on the first disk of our own crosses on a second one, which is as
//   large as it must be; what is too large for memory lies in a file without a name;
// - what crosses is the state and the metadata, byte for byte;
// - an allocated disk is used as it is, and only in its own direction;
// - more than the limit does not cross;
// - how long the disk is by the other side's word makes no other state of it.

@Suite(.enabled(if: Privileges.isRoot, "needs root: loop devices"))
struct CarryAsRootTests {
  static let metadata = [UInt8]("qemu 7.2.22\nmachine pc\n".utf8)

  private func carry(
    _ state: [UInt8], maxStateBytes: UInt64 = 64 << 20,
    saying: (UInt64) throws -> UInt64 = { $0 }
  ) throws -> (state: [UInt8], metadata: [UInt8], diskBytes: UInt64) {
    let directory = SystemPath(word: "/var/tmp")
    let source = try MemoryFile(state)
    var options = CarryOptions(request: TransferDisk.Request(spoolDirectory: directory))
    options.maxStateBytes = maxStateBytes
    let disk = try TransferDisk.make(holding: source.descriptor, metadata: Self.metadata, options)
    let carried = try disk.fetch(options, saidBytes: try saying(try disk.facts(options).diskBytes))
    let file = try carried.state.file()
    return (try file.bytes(count: carried.state.bytes), carried.metadata, carried.diskBytes)
  }

  @Test(arguments: [0, 1, 200_000, 4 << 20, 20 << 20])
  func `over a loop device`(bytes: Int) throws {
    var generator = SeededGenerator(seed: UInt64(bytes))
    let state = generator.bytes(bytes)
    let carried = try carry(state)
    #expect(carried.state.elementsEqual(state))
    #expect(carried.metadata == Self.metadata)
    #expect(carried.diskBytes >= UInt64(bytes))
  }

  /// What the other side says of the length chooses how much is copied, and no more.
  @Test func `a false length is a refusal, or makes no difference`() throws {
    var generator = SeededGenerator(seed: 2)
    let state = generator.bytes(100_000)
    for short: UInt64 in [1, 4095, 4096] {
      let error = #expect(throws: ToolError.self) { try carry(state) { $0 - short } }
      #expect(error?.status == .incomplete)
    }
    for said: UInt64 in [0, 1, 4095, 4096, 8192] {
      let error = #expect(throws: ToolError.self) { try carry(state) { _ in said } }
      #expect(error?.status == .incomplete || (said < 4096 && error?.status == .notASaveDisk))
    }
    // Up to the end of the disk, behind which nothing counts; short of it, it is no archive.
    for said: UInt64 in [4 << 20, 1 << 62, .max] {
      #expect(try carry(state) { _ in said }.state.elementsEqual(state))
    }
    #expect(try carry(state) { $0 + 4095 }.state.elementsEqual(state))
    let error = #expect(throws: ToolError.self) { try carry(state) { $0 + 4096 } }
    #expect(error?.status == .corrupt)
  }

  @Test func `more than the limit does not cross`() throws {
    var generator = SeededGenerator(seed: 1)
    let state = generator.bytes(1 << 20)
    let error = #expect(throws: ToolError.self) { try carry(state, maxStateBytes: 500_000) }
    #expect(error?.status == .overLimit)
  }
}

@Suite struct CarryTests {
  @Test func `an allocated disk has a direction`() throws {
    let directory = FileManager.default.temporaryDirectory.appendingPathComponent(
      "stubsave-carry-\(UUID().uuidString)")
    try FileManager.default.createDirectory(at: directory, withIntermediateDirectories: true)
    defer { try? FileManager.default.removeItem(at: directory) }
    let path = try #require(SystemPath(directory.appendingPathComponent("disk").path))
    _ = try DiskCommands.allocate(
      path, capacityBytes: 65_536, options: HeaderOptions(), isReplacing: false)
    var request = TransferDisk.Request(path: path, spoolDirectory: path)
    request.options.direction = .restore
    do throws(ToolError) {
      _ = try TransferDisk.make(request)
      Issue.record("the direction is not looked at")
    } catch {
      #expect(error.status == .wouldDestroy)
    }
    request.options.direction = .save
    let disk = try TransferDisk.make(request)
    let capacity = disk.header.capacityBytes
    #expect(capacity == 65_536)
  }
}
