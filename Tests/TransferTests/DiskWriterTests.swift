import Codecs
import SaveDisk
import SystemIO
import TestSupport
import Testing
import Transfer

// Invariants:
// - a writer whose store has failed refuses every later call, whichever call it was that failed;
// - "too small, needs N" is exact: N is enough, a block less is not;
// - what is given up ends in an abort record that says why;
// - memory does not grow with the state: what waits is never more than two records and two blocks.

@Suite struct DiskWriterTests {
  static func writer(
    _ header: DiskHeader = testHeader(), failingAfter calls: Int = .max,
    setting: CodecSetting = .auto, maxStateBytes: UInt64 = .max
  ) -> DiskWriter<RecordingStore> {
    DiskWriter(
      header: DiskHeader.Parsed(new: header), store: RecordingStore(failingAfter: calls),
      setting: setting, writesHeader: true, maxStateBytes: maxStateBytes)
  }

  static func noise(_ count: Int) -> [UInt8] {
    var generator = SeededGenerator(seed: 31)
    return generator.bytes(count)
  }

  /// Writes a whole disk; the first error, if any.
  static func fill(
    _ writer: inout DiskWriter<RecordingStore>, _ state: [UInt8]
  ) -> WriteError? {
    do throws(WriteError) {
      try writer.beginStream(.qemu)
      try writer.write(state.rawSpan)
      try writer.endStream()
      _ = try writer.commit()
      return nil
    } catch {
      return error
    }
  }

  static func failure(_ body: () throws -> Void) -> WriteError? {
    do {
      try body()
      return nil
    } catch {
      return error as? WriteError
    }
  }

  @Test func `whichever write or flush fails, nothing more is accepted`() throws {
    let state = Self.noise(300_000)
    let noSpace = WriteError.store(SystemError(.pwrite, errno: Errno.noSpace))
    var calls = 0
    while true {
      var writer = Self.writer(failingAfter: calls)
      guard let error = Self.fill(&writer, state) else { break }
      #expect(error == noSpace)
      #expect(writer.store.events.count == calls)
      #expect(Self.failure { try writer.beginStream(.metadata) } == .refused(.broken))
      #expect(Self.failure { try writer.endStream() } == .refused(.broken))
      #expect(Self.failure { _ = try writer.commit() } == .refused(.broken))
      #expect(Self.failure { try writer.abort(.otherFailure) } == .refused(.broken))
      writer.abandon(after: error)
      #expect(writer.store.events.count == calls, "touched the store after it had failed")
      calls += 1
    }
    // Several writes and one flush.
    #expect(calls >= 4)
  }

  @Test(arguments: [0, 1, 3584, 3585, 65_536, 65_537, 200_000])
  func `too small says how large`(count: Int) throws {
    let state = Self.noise(count)
    let needed = UInt64(try makeDisk(state, setting: .none).count)
    for capacity in stride(from: UInt64(8192), to: needed, by: 4096) {
      var small = Self.writer(testHeader(capacityBytes: capacity), setting: .none)
      #expect(
        Self.fill(&small, state) == .diskTooSmall(capacityBytes: capacity, neededBytes: needed))
      let found = try extract(Self.disk(small.store.events, capacityBytes: capacity))
      guard case .disk(let error)? = found.failure else {
        Issue.record("\(capacity): \(found)")
        continue
      }
      #expect(error.verdict == .incomplete && error.structure == .abort && error.found == 3)
    }
    var fits = Self.writer(testHeader(capacityBytes: max(needed, 8192)), setting: .none)
    #expect(Self.fill(&fits, state) == nil)
  }

  static func disk(_ events: [RecordingStore.Event], capacityBytes: UInt64) -> [UInt8] {
    var disk = [UInt8](repeating: 0, count: Int(capacityBytes))
    for case .write(let offset, let bytes) in events {
      disk.replaceSubrange(offset..<(offset + bytes.count), with: bytes)
    }
    return disk
  }

  @Test func `a limit on the state holds, to the byte`() throws {
    for (limit, count, fits) in [(100, 100, true), (100, 101, false), (65_536, 65_537, false)] {
      var mine = Self.writer(maxStateBytes: UInt64(limit))
      let found = Self.fill(&mine, Self.noise(count))
      #expect(found == (fits ? nil : .overMaxRawBytes(UInt64(limit))))
      var header = testHeader()
      header.maxRawBytes = UInt64(limit)
      var theHeaders = Self.writer(header)
      #expect(Self.fill(&theHeaders, Self.noise(count)) == found)
      if let found {
        theHeaders.abandon(after: found)
        let disk = Self.disk(theHeaders.store.events, capacityBytes: 1 << 20)
        guard case .disk(let error)? = try extract(disk).failure else {
          Issue.record("not refused")
          continue
        }
        #expect(error.structure == .abort && error.found == 2)
      }
    }
  }

  @Test func `calls out of order are refused, and then all`() throws {
    var writer = Self.writer()
    #expect(Self.failure { try writer.endStream() } == .refused(.outOfOrder))
    #expect(Self.failure { try writer.beginStream(.qemu) } == .refused(.broken))
    var committed = Self.writer()
    #expect(Self.fill(&committed, [1, 2, 3]) == nil)
    #expect(Self.failure { try committed.beginStream(.metadata) } == .refused(.broken))
    #expect(Self.failure { try committed.abort(.cancelled) } == .refused(.broken))
  }

  @Test func `what waits is bounded, and goes out in pieces`() throws {
    var writer = Self.writer(setting: .none)
    #expect(Self.fill(&writer, Self.noise(5_000_000)) == nil)
    let sizes = writer.store.events.compactMap { event in
      if case .write(_, let bytes) = event { return bytes.count }
      return nil
    }
    #expect(sizes.count > 20)
    #expect(sizes.allSatisfy { $0 <= 2 * 65_600 + 3 * 4096 })
    #expect(writer.store.events.filter { $0 == .flush }.count == 1)
  }

  @Test func `a source that fails ends the log with an abort`() throws {
    var writer = Self.writer()
    try writer.beginStream(.qemu)
    let error = Self.failure { try writer.write(from: FileDescriptor(borrowing: -1)) }
    guard case .source(let system)? = error, let error else {
      Issue.record("\(String(describing: error))")
      return
    }
    #expect(system.call == .read)
    writer.abandon(after: error)
    guard
      case .disk(let found)? = try extract(
        Self.disk(writer.store.events, capacityBytes: 8192)
      ).failure
    else {
      Issue.record("not refused")
      return
    }
    #expect(found.structure == .abort && found.found == 1)
  }
}
