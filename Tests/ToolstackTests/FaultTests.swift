import Codecs
import Foundation
import SaveDisk
import SystemIO
import TestSupport
import Testing
import Transfer

@testable import Toolstack

// Invariants, for N = 1, 2, 3 … until nothing fails any more, each system call failing once or for
// good, being interrupted, or moving fewer bytes than it is asked to:
// - a command fails with an exit code that fits, and says which call it was, or it does all it has
//   to do;
// - a file that it makes is there complete or not at all, and nothing else is left;
// - what comes over a disk is the state, or an error: never another state;
// - fewer bytes than were asked for, and a signal, make no difference, but for a flush that is
//   interrupted.

private struct FaultCase: Sendable, CustomTestStringConvertible {
  /// Nil for a transfer that is short.
  let errno: Int32?
  let isPersistent: Bool
  var testDescription: String {
    "\(errno.map { "errno \($0)" } ?? "short")\(isPersistent ? ", for good" : "")"
  }

  static let all =
    [Errno.ioError, Errno.noSpace, Errno.noMemory, Errno.interrupted, nil].flatMap { errno in
      [false, true].map { FaultCase(errno: errno, isPersistent: $0) }
    }

  private func begin(_ index: Int) {
    if let errno {
      Faults.fail(nil, skipping: index, errno: errno, persistently: isPersistent)
    } else {
      Faults.shorten(nil, skipping: index, persistently: isPersistent)
    }
  }

  private func check(_ failure: ToolError) {
    // Where a call's failure is of no consequence, all these end in the same code.
    #expect(failure.status == .ioError, "\(failure.text.text)")
    #expect(!failure.text.bytes.isEmpty)
    if errno == nil { Issue.record("a short transfer: \(failure.text.text)") }
    if errno == Errno.interrupted {
      #expect(failure.text.text.contains("fsync"), "\(failure.text.text)")
    }
  }

  /// Runs `body` with the Nth call failing, for each N until none has failed.
  ///
  /// - Parameter after: sees the error, nil if there was none; no call fails any more.
  /// - Returns: how many calls a run without faults makes.
  func forEachCall(
    _ body: () throws(ToolError) -> Void, after: (ToolError?) throws -> Void
  ) throws -> Int {
    for index in 0..<10_000 {
      var failure: ToolError?
      begin(index)
      do throws(ToolError) { try body() } catch { failure = error }
      let calls = Faults.clear()
      if let failure { check(failure) }
      try after(failure)
      if calls <= index {
        #expect(failure == nil)
        return index
      }
    }
    throw POSIXError(.ELOOP)
  }
}

@Suite struct FaultTests {
  let directory: URL
  init() throws {
    directory = FileManager.default.temporaryDirectory.appendingPathComponent(
      "stubsave-faults-\(UUID().uuidString)")
    try FileManager.default.createDirectory(at: directory, withIntermediateDirectories: true)
  }

  private func path(_ name: String) throws -> SystemPath {
    try #require(SystemPath(directory.appendingPathComponent(name).path))
  }

  private var names: [String] {
    (try? FileManager.default.contentsOfDirectory(atPath: directory.path))?.sorted() ?? []
  }

  private func remove(_ name: String) throws {
    try? FileManager.default.removeItem(at: directory.appendingPathComponent(name))
  }

  /// Compressible, of several chunks.
  private static let state: [UInt8] = {
    var generator = SeededGenerator(seed: 3)
    return generator.bytes(100_000) + [UInt8](repeating: 7, count: 300_000)
  }()

  private func contents(_ name: String) throws -> [UInt8] {
    [UInt8](try Data(contentsOf: directory.appendingPathComponent(name)))
  }

  @Test(arguments: FaultCase.all)
  private func `write`(fault: FaultCase) throws {
    defer { try? FileManager.default.removeItem(at: directory) }
    let disk = try path("disk")
    let source = try MemoryFile(Self.state)
    let calls = try fault.forEachCall {
      () throws(ToolError) in
      try? source.descriptor.rewind()
      _ = try DiskCommands.write(disk, from: source.descriptor, options: WriteOptions())
    } after: { failure in
      // Published, and only the directory could not be flushed: complete all the same.
      if !names.isEmpty {
        #expect(names == ["disk"])
        if failure == nil { #expect(try extract(contents("disk")).state == Self.state) }
      } else {
        #expect(failure != nil)
      }
      try remove("disk")
      #expect(names.isEmpty)
    }
    #expect(calls > 8)
  }

  @Test(arguments: FaultCase.all)
  private func `allocate`(fault: FaultCase) throws {
    defer { try? FileManager.default.removeItem(at: directory) }
    let disk = try path("disk")
    let calls = try fault.forEachCall {
      () throws(ToolError) in
      _ = try DiskCommands.allocate(
        disk, capacityBytes: 65_536, options: HeaderOptions(), isReplacing: false)
    } after: { failure in
      if names.isEmpty {
        #expect(failure != nil)
      } else {
        #expect(names == ["disk"])
        #expect(try contents("disk").count == 65_536)
      }
      try remove("disk")
    }
    #expect(calls > 6)
  }

  @Test(arguments: FaultCase.all)
  private func `read`(fault: FaultCase) throws {
    defer { try? FileManager.default.removeItem(at: directory) }
    let (disk, output, spool) = (try path("disk"), try path("state"), try path("."))
    try Data(try makeDisk(Self.state)).write(to: directory.appendingPathComponent("disk"))
    let calls = try fault.forEachCall {
      () throws(ToolError) in
      _ = try DiskCommands.read(
        disk, stream: .qemu, output: output, spoolDirectory: spool, options: ReadOptions(),
        isForced: false)
    } after: { failure in
      if names == ["disk"] {
        #expect(failure != nil)
      } else {
        #expect(names == ["disk", "state"])
        #expect(try contents("state") == Self.state)
      }
      try remove("state")
    }
    #expect(calls > 8)
  }

  /// What could not be flushed may be gone: no command may pass over that.
  @Test func `a flush that fails is an error`() throws {
    defer { try? FileManager.default.removeItem(at: directory) }
    let (disk, output, spool) = (try path("disk"), try path("state"), try path("."))
    let source = try MemoryFile(Self.state)
    func expectFailure(
      _ name: String, flush: Int = 0, _ body: () throws(ToolError) -> Void
    ) {
      Faults.fail(.fsync, skipping: flush, errno: Errno.ioError)
      do throws(ToolError) {
        try body()
        Issue.record("\(name): passed over")
      } catch {
        #expect(error.status == .ioError, "\(name)")
      }
      Faults.clear()
    }
    // The file, and then its directory.
    for flush in 0...1 {
      expectFailure("write", flush: flush) {
        () throws(ToolError) in
        try? source.descriptor.rewind()
        _ = try DiskCommands.write(disk, from: source.descriptor, options: WriteOptions())
      }
      try remove("disk")
      expectFailure("allocate", flush: flush) {
        () throws(ToolError) in
        _ = try DiskCommands.allocate(
          disk, capacityBytes: 65_536, options: HeaderOptions(), isReplacing: false)
      }
      try remove("disk")
    }
    try Data(try makeDisk(Self.state)).write(to: directory.appendingPathComponent("disk"))
    for flush in 0...1 {
      expectFailure("read", flush: flush) {
        () throws(ToolError) in
        _ = try DiskCommands.read(
          disk, stream: .qemu, output: output, spoolDirectory: spool, options: ReadOptions(),
          isForced: true)
      }
    }
  }

  @Test(arguments: FaultCase.all)
  private func `over a disk in a file`(fault: FaultCase) throws {
    defer { try? FileManager.default.removeItem(at: directory) }
    let disk = try path("disk")
    _ = try DiskCommands.allocate(
      disk, capacityBytes: 1 << 20, options: HeaderOptions(), isReplacing: false)
    let empty = try contents("disk")
    let calls = try carry(fault, over: disk) {
      try Data(empty).write(to: directory.appendingPathComponent("disk"))
    }
    #expect(calls > 15)
    #expect(names == ["disk"])
  }

  /// - Parameter prepare: before each run but the first.
  fileprivate func carry(
    _ fault: FaultCase, over path: SystemPath?, prepare: () throws -> Void
  ) throws -> Int {
    let source = try MemoryFile(Self.state)
    let spool = try self.path(".")
    var arrived: [UInt8] = []
    return try fault.forEachCall {
      () throws(ToolError) in
      arrived = []
      let request = TransferDisk.Request(path: path, spoolDirectory: spool)
      let options = CarryOptions(request: request)
      let disk = try TransferDisk.make(
        holding: source.descriptor, metadata: [UInt8]("qemu 1\n".utf8), options)
      let carried = try disk.fetch(options, saidBytes: try disk.facts(options).diskBytes)
      do throws(SystemError) {
        arrived = try carried.state.file().bytes(count: carried.state.bytes)
      } catch {
        throw ToolError(error, spool)
      }
    } after: { failure in
      #expect(failure != nil ? arrived.isEmpty : arrived == Self.state)
      try prepare()
    }
  }
}

@Suite(.enabled(if: Privileges.isRoot, "needs root: loop devices"))
struct FaultAsRootTests {
  @Test(arguments: FaultCase.all)
  private func `over a loop device`(fault: FaultCase) throws {
    let tests = try FaultTests()
    defer { try? FileManager.default.removeItem(at: tests.directory) }
    let calls = try tests.carry(fault, over: nil) {}
    #expect(calls > 25)
    #expect(try FileManager.default.contentsOfDirectory(atPath: tests.directory.path).isEmpty)
  }
}
