import Codecs
import SaveDisk
import SystemIO
import TestSupport
import Testing
import Transfer
import ZstdCodec

// Invariants:
// - what several threads say of a long disk, and write of it, is what one thread says and writes:
//   of good ones, of every kind of damage, of cuts, with every way of reading;
// - whatever call fails is told, and all threads end.

@Suite struct ReadPipelineTests {
  static let disks: [[UInt8]] = {
    var disks: [[UInt8]] = []
    for setting in [CodecSetting.lz4, .none, ZstdCodec.setting()] {
      let made = try? WritePipelineTests.write(WritePipelineTests.state, setting, workers: 0)
      disks.append(made?.disk ?? [])
    }
    return disks
  }()

  struct Answer: Equatable {
    let failure: DoorFailure?
    let rawBytes: UInt64
    let records: UInt64
    let streams: Int
    let diskBytes: UInt64
    let output: [UInt8]
  }

  static func open(
    _ input: borrowing FileDescriptor, workers: Int, task: DoorTask = .extract(.qemu),
    options: ReadOptions = options()
  ) throws -> Answer {
    let output = try MemoryFile()
    var resources = DoorResources()
    resources.workers = workers
    resources.added = [ZstdCodec.codec()]
    let verdict = Door.open(
      input, task: task, options: options,
      output: DoorOutput(FileDescriptor(borrowing: output.descriptor.number)),
      resources: resources)
    return Answer(
      failure: verdict.failure, rawBytes: verdict.facts.rawBytes,
      records: verdict.facts.recordCount, streams: verdict.facts.finishedStreams,
      diskBytes: verdict.facts.diskBytes, output: try output.contents())
  }

  static func options() -> ReadOptions {
    var options = ReadOptions()
    options.acceptedCodecs = ChunkCodec.supported.union(CodecSet(.zstd))
    return options
  }

  static func expectSame(_ disk: [UInt8], _ what: String) throws {
    let file = try MemoryFile(disk)
    let one = try open(file.descriptor, workers: 0)
    for workers in [2, 3] {
      #expect(try open(file.descriptor, workers: workers) == one, "\(what), \(workers) threads")
    }
  }

  @Test func `good disks`() throws {
    for disk in Self.disks {
      let file = try MemoryFile(disk)
      for workers in [0, 1, 2, 3, 8] {
        let found = try Self.open(file.descriptor, workers: workers)
        #expect(found.failure == nil && found.output == WritePipelineTests.state)
        #expect(try Self.open(file.descriptor, workers: workers, task: .verify).failure == nil)
        var options = Self.options()
        options.isDecoding = false
        let checked = try Self.open(
          file.descriptor, workers: workers, task: .verify, options: options)
        #expect(checked.failure == nil && checked.diskBytes == UInt64(disk.count))
      }
      #expect(
        try Self.open(file.descriptor, workers: 3, task: .list)
          == Self.open(file.descriptor, workers: 0, task: .list))
    }
  }

  @Test func `damage anywhere gets the same verdict`() throws {
    var generator = SeededGenerator(seed: 72)
    for disk in Self.disks {
      for _ in 0..<20 {
        var damaged = disk
        let index = Int.random(in: 0..<disk.count, using: &generator)
        damaged[index] ^= 1 << UInt8.random(in: 0..<8, using: &generator)
        try Self.expectSame(damaged, "bit at \(index)")
        try Self.expectSame([UInt8](disk.prefix(index)), "cut at \(index)")
      }
      // Around the commit.
      for back in [1, 4095, 4096, 4097] {
        try Self.expectSame([UInt8](disk.dropLast(back)), "\(back) bytes less")
      }
      try Self.expectSame(disk + [0], "a byte behind")
    }
  }

  @Test func `every field of a late record gets the same verdict`() throws {
    let disk = try #require(Self.disks.first)
    let file = try MemoryFile(disk)
    let list = try Self.open(file.descriptor, workers: 0, task: .list).output
    let last = list.count / RecordEntry.byteCount
    for entry in [last - 8, last - 5, last - 4, last - 1] {
      let start = entry * RecordEntry.byteCount
      let bytes = [UInt8](list[start..<(start + RecordEntry.byteCount)])
      let offset = Int(RecordEntry(parsing: bytes.rawSpan).offset)
      for field in stride(from: 0, to: 64, by: 4) {
        var damaged = disk
        for index in 0..<4 { damaged[offset + field + index] = ~damaged[offset + field + index] }
        try Self.expectSame(damaged, "record \(entry), offset \(field)")
      }
      // What is stale or torn: zeros from here on.
      let torn = disk[..<offset] + [UInt8](repeating: 0, count: disk.count - offset)
      try Self.expectSame([UInt8](torn), "zeros from record \(entry)")
    }
  }

  @Test func `limits and codecs that are not accepted`() throws {
    for disk in Self.disks {
      let file = try MemoryFile(disk)
      for limit in [4 << 20, 5_000_000, 6_999_999] {
        var options = Self.options()
        options.limits = ReaderLimits(maxStateBytes: UInt64(limit))
        let one = try Self.open(file.descriptor, workers: 0, options: options)
        #expect(try Self.open(file.descriptor, workers: 3, options: options) == one)
        #expect(one.failure != nil)
      }
    }
  }

  @Test func `whichever read or write fails, that is what is told`() throws {
    let file = try MemoryFile(Self.disks[1])
    for call in [SystemCall.pread, .write] {
      var skipping = 0
      while true {
        Faults.fail(call, skipping: skipping, errno: Errno.ioError)
        let output = try FileDescriptor.inMemory()
        var resources = DoorResources()
        resources.workers = 3
        let verdict = Door.open(
          file.descriptor, task: .extract(.qemu), options: Self.options(),
          output: DoorOutput(output), resources: resources)
        let calls = Faults.clear()
        if verdict.failure == nil {
          #expect(calls <= skipping)
          break
        }
        let error = SystemError(call, errno: Errno.ioError)
        #expect(verdict.failure == (call == .pread ? .input(error) : .output(error)))
        skipping += 7
      }
      #expect(skipping > 70)
    }
  }
}
