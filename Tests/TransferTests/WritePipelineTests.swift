import Codecs
import SaveDisk
import SystemIO
import TestSupport
import Testing
import Transfer
import ZstdCodec

// Invariants:
// - a disk that several threads make is byte for byte that of one thread, for every codec but auto,
//   at every length around the borders of chunks, pieces and of what counts as long;
// - auto's disk holds the same state, whatever it stores;
// - whatever fails, and wherever: the error is that of one thread, the store is not touched after
//   its own failure, and a log that can still be ended ends in an abort;
// - without threads the disk is the same;
// - what is written begins and ends with a block, on the disk and in memory: O_DIRECT wants that.

@Suite struct WritePipelineTests {
  static let workers = Thoroughness.isExhaustive ? [0, 1, 2, 3, 8] : [0, 3]
  static let settings: [(name: String, setting: CodecSetting)] = [
    ("none", .none), ("lz4", .lz4), ("zlib", .zlib), ("libdeflate", DeflateCodec.setting()),
    ("zstd", ZstdCodec.setting()), ("auto", .auto),
  ]

  /// Longer than what one thread takes; zeros, text and noise in turn, not along chunks.
  static let state: [UInt8] = longState(bytes: Thoroughness.isExhaustive ? 7_000_000 : 5_000_000)

  static func longState(bytes count: Int) -> [UInt8] {
    var generator = SeededGenerator(seed: 71)
    var state: [UInt8] = []
    state.reserveCapacity(count + 200_000)
    let text = [UInt8](String(repeating: "a page of a guest ", count: 6000).utf8)
    while state.count < count {
      state += generator.bytes(100_000)
      state += text
      state += [UInt8](repeating: 0, count: 150_000)
    }
    return [UInt8](state.prefix(count))
  }

  /// What `fill` gives, and the disk.
  static func write(
    _ state: [UInt8], _ setting: CodecSetting, workers: Int?, header: DiskHeader = header(),
    maxStateBytes: UInt64 = .max
  ) throws -> (error: WriteError?, disk: [UInt8]) {
    let source = try MemoryFile(state)
    let disk = try MemoryFile()
    if header.capacityBytes > 0 { try disk.descriptor.truncate(to: header.capacityBytes) }
    var writer = DiskWriter(
      header: DiskHeader.Parsed(new: header),
      store: FileStore(FileDescriptor(borrowing: disk.descriptor.number)), setting: setting,
      writesHeader: true, maxStateBytes: maxStateBytes, workers: workers)
    var failure: WriteError?
    do throws(WriteError) {
      _ = try writer.fill(from: source.descriptor, metadata: [1, 2, 3])
    } catch {
      failure = error
    }
    return (failure, try disk.contents())
  }

  static func header(capacityBytes: UInt64 = 0) -> DiskHeader {
    var header = testHeader(seed: 8, capacityBytes: capacityBytes)
    header.allowedCodecs = ChunkCodec.supported.union(CodecSet(.zstd))
    return header
  }

  @Test(arguments: settings.map(\.name), workers)
  func `several threads make the same disk`(name: String, workers: Int) throws {
    let setting = try #require(Self.settings.first { $0.name == name }).setting
    let many = try Self.write(Self.state, setting, workers: workers)
    #expect(many.error == nil)
    if name == "auto" {
      let found = try extract(many.disk)
      #expect(found.failure == nil && found.state == Self.state)
    } else {
      let one = try Self.write(Self.state, setting, workers: nil)
      #expect(many.disk == one.disk)
    }
  }

  @Test func `lengths around every border`() throws {
    let long = 4 << 20
    let chunk = 65_536
    let bases = [long - chunk, long, long + chunk, long + (1 << 20)]
    for base in bases[..<Thoroughness.count(bases.count, debug: 2)] {
      for count in [base - 1, base, base + 1, base + chunk - 1] {
        let state = [UInt8](Self.state.prefix(count))
        let one = try Self.write(state, .lz4, workers: nil)
        let many = try Self.write(state, .lz4, workers: 2)
        #expect(many.error == nil && many.disk == one.disk, "\(count)")
      }
    }
  }

  @Test func `a disk that is too small is told as by one thread`() throws {
    let needed = try Self.write(Self.state, .none, workers: nil).disk.count
    for capacity in [3 << 20, needed - (1 << 20), needed - 131_072, needed - 4096] {
      let capacity = capacity & ~4095
      let header = Self.header(capacityBytes: UInt64(capacity))
      let one = try Self.write(Self.state, .none, workers: nil, header: header)
      let many = try Self.write(Self.state, .none, workers: 3, header: header)
      #expect(one.error != nil && many.error == one.error)
      #expect(many.disk == one.disk)
    }
    let fits = try Self.write(
      Self.state, .none, workers: 3, header: Self.header(capacityBytes: UInt64(needed)))
    #expect(fits.error == nil)
  }

  @Test func `a limit holds to the byte`() throws {
    // With the metadata, which are three bytes.
    let whole = Self.state.count + 3
    for limit in [4 << 20, 5_000_000, Self.state.count - 1, whole - 1, whole] {
      let one = try Self.write(Self.state, .lz4, workers: nil, maxStateBytes: UInt64(limit))
      let many = try Self.write(Self.state, .lz4, workers: 2, maxStateBytes: UInt64(limit))
      #expect(many.error == one.error && many.disk == one.disk)
      #expect((many.error == nil) == (limit == whole))
    }
  }

  @Test func `without threads the disk is the same`() throws {
    let one = try Self.write(Self.state, .lz4, workers: nil)
    Faults.fail(.thread, skipping: 0, errno: Errno.wouldBlock, persistently: true)
    let without = try Self.write(Self.state, .lz4, workers: 4)
    #expect(Faults.clear() > 0)
    #expect(without.disk == one.disk)
    // One of four: the work is done by fewer.
    Faults.fail(.thread, skipping: 1, errno: Errno.wouldBlock, persistently: true)
    let fewer = try Self.write(Self.state, .lz4, workers: 4)
    Faults.clear()
    #expect(fewer.disk == one.disk)
  }

  @Test(arguments: [SystemCall.read, .pwrite, .fsync])
  func `whichever call fails, that is what is told`(call: SystemCall) throws {
    var skipping = 0
    while true {
      let source = try MemoryFile(Self.state)
      let disk = try FileDescriptor.inMemory()
      Faults.fail(call, skipping: skipping, errno: Errno.ioError)
      var writer = DiskWriter(
        header: DiskHeader.Parsed(new: Self.header()),
        store: FileStore(FileDescriptor(borrowing: disk.number)), setting: .none,
        writesHeader: true, workers: 2)
      var failure: WriteError?
      do throws(WriteError) {
        _ = try writer.fill(from: source.descriptor)
      } catch {
        failure = error
      }
      let calls = Faults.clear()
      guard let failure else {
        #expect(calls <= skipping)
        break
      }
      let error = SystemError(call, errno: Errno.ioError)
      #expect(failure == (call == .read ? .source(error) : .store(error)))
      if call != .fsync {
        guard case .disk(let verdict)? = try extract(disk).failure else {
          Issue.record("\(call) \(skipping): taken for good")
          return
        }
        if call == .read { #expect(verdict.structure == .abort && verdict.found == 1) }
      }
      skipping += (call == .read ? 13 : 1) * (Thoroughness.isExhaustive ? 1 : 3)
    }
    #expect(skipping >= (call == .fsync ? 1 : 3))
  }

  @Test(arguments: [UInt32(65_536), 262_144, 1_048_576])
  func `whole blocks from aligned memory`(chunkBytes: UInt32) throws {
    for setting in [CodecSetting.none, .lz4] {
      let log = StoreLog()
      let source = try MemoryFile(Self.state)
      var header = Self.header()
      header.chunkBytes = chunkBytes
      var writer = DiskWriter(
        header: DiskHeader.Parsed(new: header), store: AligningStore(log: log), setting: setting,
        writesHeader: true, workers: 2)
      let written = try writer.fill(from: source.descriptor)
      #expect(log.calls > 0 && log.unaligned == 0)
      #expect(log.end == written.diskBytes)
    }
  }

  /// Writes less than it is given, as a file of a full file system does before its error.
  @Test func `a store that fails is not touched again`() throws {
    for calls in 0..<Thoroughness.count(12, debug: 6) {
      let log = StoreLog()
      let source = try MemoryFile(Self.state)
      var writer = DiskWriter(
        header: DiskHeader.Parsed(new: Self.header()),
        store: FailingStore(log: log, failingAt: calls), setting: .none, writesHeader: true,
        workers: 3)
      do throws(WriteError) {
        _ = try writer.fill(from: source.descriptor)
        #expect(calls > log.calls - 1)
      } catch {
        #expect(error == .store(SystemError(.pwrite, errno: Errno.noSpace)))
        #expect(log.calls == calls + 1)
      }
    }
  }
}

/// One thread after the other has it.
final class StoreLog: @unchecked Sendable {
  var calls = 0
  var unaligned = 0
  var end: UInt64 = 0
}

struct AligningStore: DiskStore {
  let log: StoreLog

  mutating func write(_ bytes: RawSpan, at offset: UInt64) {
    let address = unsafe bytes.withUnsafeBytes { Int(bitPattern: $0.baseAddress) }
    let isAligned = offset % 4096 == 0 && bytes.byteCount % 4096 == 0 && address % 4096 == 0
    log.calls += 1
    log.unaligned += isAligned && offset == log.end ? 0 : 1
    log.end = offset + UInt64(bytes.byteCount)
  }

  mutating func flush() {}
}

struct FailingStore: DiskStore {
  let log: StoreLog
  let failingAt: Int

  mutating func write(_ bytes: RawSpan, at offset: UInt64) throws(SystemError) {
    log.calls += 1
    if log.calls == failingAt + 1 { throw SystemError(.pwrite, errno: Errno.noSpace) }
  }

  mutating func flush() throws(SystemError) {
    log.calls += 1
    if log.calls == failingAt + 1 { throw SystemError(.pwrite, errno: Errno.noSpace) }
  }
}
