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
// - more than the limit does not cross.

@Suite(.enabled(if: Privileges.isRoot, "needs root: loop devices"))
struct CarryAsRootTests {
  static let metadata = [UInt8]("qemu 7.2.22\nmachine pc\n".utf8)

  private func carry(
    _ state: [UInt8], maxStateBytes: UInt64 = 64 << 20
  ) throws -> (state: [UInt8], metadata: [UInt8], diskBytes: UInt64) {
    let directory = SystemPath(word: "/var/tmp")
    let source = try MemoryFile(state)
    var options = CarryOptions(request: TransferDisk.Request(spoolDirectory: directory))
    options.maxStateBytes = maxStateBytes
    let disk = try TransferDisk.make(holding: source.descriptor, metadata: Self.metadata, options)
    let carried = try disk.fetch(options)
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
