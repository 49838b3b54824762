import Foundation
import SystemIO
import TestSupport
import Testing

// Invariants:
// - a loop device has the size of its file, takes what is written through to it, and is gone with
//   its last descriptor;
// - zeroing a range of a device leaves the rest alone;
// - a bounded file takes no more than its limit, nobody else can open it, and its writer is what
//   QEMU wants of a file descriptor set: a regular file, opened exactly O_WRONLY;
// - a lease tells whether a file has a writer.

@Suite(.enabled(if: Privileges.isRoot, "needs root: loop devices, mounts"))
struct DeviceAsRootTests {
  private func backing(_ bytes: UInt64) throws -> FileDescriptor {
    let file = try FileDescriptor.inMemory()
    try file.truncate(to: bytes)
    return file
  }

  private func backingFile(of device: SystemPath) -> String? {
    let name = String(decoding: device.bytes, as: UTF8.self).split(separator: "/").last ?? ""
    return try? String(contentsOfFile: "/sys/block/\(name)/loop/backing_file", encoding: .utf8)
  }

  @Test func `a loop device is its file, and goes with its descriptor`() throws {
    let file = try backing(1 << 20)
    let path = try use(file)
    #expect(backingFile(of: path)?.contains("stubsave") != true)
  }

  /// - Returns: the path of the device, which is gone by then.
  private func use(_ file: borrowing FileDescriptor) throws -> SystemPath {
    let loop = try LoopDevice(backing: file)
    let kind = try loop.descriptor.status().kind
    #expect(kind == .blockDevice)
    let device = try loop.descriptor.blockDevice()
    #expect(device.bytes == 1 << 20 && device.sectorBytes == 512 && !device.isReadOnly)
    try loop.descriptor.writeAll([UInt8](repeating: 0xA5, count: 8192).rawSpan, at: 4096)
    try loop.descriptor.flush()
    let bytes = try file.bytes(count: 12288)
    #expect(bytes.dropFirst(4096).allSatisfy { $0 == 0xA5 })
    let path = loop.path
    #expect(backingFile(of: path)?.contains("stubsave") == true)
    return path
  }

  @Test func `a range of a device becomes zeros`() throws {
    let file = try backing(1 << 20)
    let loop = try LoopDevice(backing: file)
    try loop.descriptor.writeAll([UInt8](repeating: 0xFF, count: 65_536).rawSpan, at: 0)
    try loop.descriptor.zeroDevice(from: 4096, bytes: 8192)
    try loop.descriptor.flush()
    let bytes = try file.bytes(count: 65_536)
    #expect(bytes[0..<4096].allSatisfy { $0 == 0xFF })
    #expect(bytes[4096..<12288].allSatisfy { $0 == 0 })
    #expect(bytes[12288...].allSatisfy { $0 == 0xFF })
  }

  @Test func `a device can be read past the page cache in blocks only`() throws {
    let file = try backing(1 << 20)
    let loop = try LoopDevice(backing: file)
    let direct = try FileDescriptor.open(loop.path, .readDirect)
    var buffer = AlignedBuffer(byteCount: 8192)
    var target = buffer.mutableBytes(0..<8192)
    let count = try direct.read(into: &target, from: 0, at: 4096)
    #expect(count == 8192)
    var odd = buffer.mutableBytes(0..<8192)
    #expect(throws: SystemError(.pread, errno: Errno.invalid)) {
      _ = try direct.read(into: &odd, from: 100, at: 4096)
    }
  }

  @Test func `a bounded file has a limit`() throws {
    let file = try BoundedFile(maxBytes: 100_000)
    let maxBytes = file.maxBytes
    let limit = try #require(maxBytes)
    #expect(limit >= 100_000 && limit < 100_000 + 65_536)
    try file.writer.writeAll([UInt8](repeating: 1, count: 100_000).rawSpan)
    let isFullBefore = try file.isFull()
    #expect(!isFullBefore)
    #expect(throws: SystemError(.write, errno: Errno.noSpace)) {
      try file.writer.writeAll([UInt8](repeating: 2, count: 200_000).rawSpan)
    }
    let isFull = try file.isFull()
    let (bytes, kind) = (try file.reader.status().bytes, try file.writer.status().kind)
    let flags = fcntl(file.writer.number, F_GETFL)
    #expect(isFull && bytes == limit && kind == .regular)
    #expect(flags & (O_ACCMODE | O_APPEND) == O_WRONLY)
    let mounts = try String(contentsOfFile: "/proc/self/mounts", encoding: .utf8)
    #expect(!mounts.contains("size=\(limit / 1024)k"))
  }

  @Test func `the stand-in without privileges has none`() throws {
    let file = try BoundedFile()
    try file.writer.writeAll([UInt8](repeating: 1, count: 1 << 20).rawSpan)
    let isFull = try file.isFull()
    let flags = fcntl(file.writer.number, F_GETFL)
    let bytes = try file.reader.bytes(count: 4)
    #expect(!isFull && bytes == [1, 1, 1, 1])
    #expect(flags & (O_ACCMODE | O_APPEND) == O_WRONLY)
  }
}

@Suite struct LeaseTests {
  @Test func `a lease shows a writer`() throws {
    let url = FileManager.default.temporaryDirectory.appendingPathComponent(UUID().uuidString)
    try Data("text".utf8).write(to: url)
    defer { try? FileManager.default.removeItem(at: url) }
    let path = try #require(SystemPath(url.path))
    let before = try FileDescriptor.hasWriter(path)
    let writer = try FileDescriptor.open(path, .readWrite)
    let during = try FileDescriptor.hasWriter(path)
    _ = consume writer
    let after = try FileDescriptor.hasWriter(path)
    #expect(before == false && during == true && after == false)
  }

  @Test func `a lock keeps a second one out`() throws {
    let url = FileManager.default.temporaryDirectory.appendingPathComponent(UUID().uuidString)
    try Data("text".utf8).write(to: url)
    defer { try? FileManager.default.removeItem(at: url) }
    let path = try #require(SystemPath(url.path))
    let first = try FileDescriptor.open(path, .readWrite)
    try first.lockExclusively()
    let second = try FileDescriptor.open(path, .readWrite)
    #expect(throws: SystemError(.flock, errno: Errno.wouldBlock)) { try second.lockExclusively() }
    _ = consume first
    try second.lockExclusively()
  }
}

@Suite struct DeadlineTests {
  @Test func `it passes`() {
    #expect(Deadline(timeoutMilliseconds: 0).hasPassed)
    let later = Deadline(timeoutMilliseconds: 60_000)
    #expect(!later.hasPassed && later.remainingMilliseconds > 50_000)
    #expect(Deadline(timeoutMilliseconds: .max).remainingMilliseconds == .max)
  }
}
