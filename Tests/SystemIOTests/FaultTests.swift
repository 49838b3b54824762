import SystemIO
import TestSupport
import Testing

// Invariants:
// - the call that is to fail fails, without being made, and no other; for good if so wanted;
// - the count says how many there were;
// - a transfer that is cut short moves something, and an interrupted call is made again, but for a
//   flush.

@Suite struct FaultTests {
  @Test func `the third write fails, once`() throws {
    let file = try FileDescriptor.inMemory()
    Faults.fail(.write, skipping: 2, errno: Errno.noSpace)
    defer { Faults.clear() }
    try file.writeAll([1].rawSpan)
    try file.writeAll([2].rawSpan)
    #expect(throws: SystemError(.write, errno: Errno.noSpace)) { try file.writeAll([3].rawSpan) }
    try file.writeAll([4].rawSpan)
    #expect(Faults.clear() == 4)
    let bytes = try file.bytes(count: 3)
    #expect(bytes == [1, 2, 4])
  }

  @Test func `for good`() throws {
    let file = try FileDescriptor.inMemory()
    Faults.fail(nil, skipping: 1, errno: Errno.ioError, persistently: true)
    defer { Faults.clear() }
    try file.writeAll([1].rawSpan)
    #expect(throws: SystemError(.write, errno: Errno.ioError)) { try file.writeAll([2].rawSpan) }
    #expect(throws: SystemError(.fsync, errno: Errno.ioError)) { try file.flush() }
    #expect(throws: SystemError(.ftruncate, errno: Errno.ioError)) { try file.truncate(to: 0) }
    #expect(Faults.clear() == 4)
    try file.flush()
  }

  @Test func `cut short, or interrupted`() throws {
    let file = try FileDescriptor.inMemory()
    let bytes = [UInt8](repeating: 5, count: 10_000)
    defer { Faults.clear() }
    Faults.shorten(.write, skipping: 0)
    var count = try file.writeSome(bytes.rawSpan)
    #expect(count == 4096)
    count = try file.writeSome(bytes.rawSpan)
    #expect(count == 10_000)
    Faults.shorten(nil, skipping: 0, persistently: true)
    try file.writeAll(bytes.rawSpan)
    #expect(Faults.clear() > 3)
    let length = try file.status().bytes
    #expect(length == 24_096)
    // Made again, as after a signal; a flush is not.
    Faults.fail(nil, skipping: 0, errno: Errno.interrupted, persistently: true)
    try file.truncate(to: 1)
    #expect(throws: SystemError(.fsync, errno: Errno.interrupted)) { try file.flush() }
    #expect(Faults.clear() == 2)
  }

  /// A number out of its turn would make the wrong call fail.
  @Test func `every call has a name of its own`() {
    var names: Set<String> = []
    for call in SystemCall.allCases { names.insert("\(call.name)") }
    #expect(names.count == SystemCall.allCases.count)
  }
}
