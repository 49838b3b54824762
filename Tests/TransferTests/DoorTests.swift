import Codecs
import SaveDisk
import SystemIO
import TestSupport
import Testing
import Transfer

// Invariants:
// - the verdict is of fixed size and holds no memory;
// - what the door writes is the stream asked for, in the first descriptor or, when there is too
//   much, all of it in the second;
// - a failure of a descriptor is that, and no verdict on the disk;
// - records are listed up to the first that is refused;
// - a decoder is never run for a codec that is not accepted, nor when none is to be run.

@Suite struct DoorTests {
  @Test func `the verdict is of fixed size`() {
    func requireBitwiseCopyable<T: BitwiseCopyable>(_: T.Type) {}
    requireBitwiseCopyable(DoorVerdict.self)
    #expect(MemoryLayout<DoorVerdict>.size < 4096, "fits into one write to a pipe")
  }

  static let state: [UInt8] = {
    var generator = SeededGenerator(seed: 41)
    return generator.bytes(200_000)
  }()

  @Test(arguments: [0, 1, 65_536, 199_999, 200_000, 1_000_000])
  func `output overflows whole`(maxBytes: Int) throws {
    let disk = try MemoryFile(try makeDisk(Self.state))
    let memory = try MemoryFile()
    let overflow = try MemoryFile()
    let output = DoorOutput(
      memory: FileDescriptor(borrowing: memory.descriptor.number), maxBytes: UInt64(maxBytes),
      overflow: FileDescriptor(borrowing: overflow.descriptor.number))
    let verdict = Door.open(
      disk.descriptor, task: .extract(.qemu), options: ReadOptions(), output: output)
    #expect(verdict.failure == nil && verdict.outputBytes == 200_000)
    #expect(verdict.isInOverflow == (maxBytes < 200_000))
    let target = try MemoryFile()
    try output.copy(verdict, to: target.descriptor)
    #expect(try target.contents() == Self.state)
  }

  @Test func `a stream that is not there`() throws {
    let disk = try MemoryFile(try makeDisk([(.metadata, [1, 2, 3])]))
    #expect(try extract(disk.descriptor).failure == .noSuchStream)
    let good = Door.open(
      disk.descriptor, task: .verify, options: ReadOptions(), output: .nowhere)
    #expect(good.failure == nil)
    #expect(good.facts.summary(of: .metadata)?.rawBytes == 3)
    #expect(good.facts.summary(of: .qemu) == nil)
  }

  @Test func `descriptors that fail`() throws {
    let closed = FileDescriptor(borrowing: -1)
    let input = Door.open(closed, task: .verify, options: ReadOptions(), output: .nowhere)
    guard case .input(let error)? = input.failure else {
      Issue.record("\(String(describing: input.failure))")
      return
    }
    #expect(error.call == .fstat)
    let disk = try MemoryFile(try makeDisk(Self.state))
    let output = Door.open(
      disk.descriptor, task: .extract(.qemu), options: ReadOptions(), output: .nowhere)
    guard case .output(let error)? = output.failure else {
      Issue.record("\(String(describing: output.failure))")
      return
    }
    #expect(error.call == .write)
  }

  static func list(_ bytes: [UInt8]) throws -> (DoorFailure?, [RecordEntry]) {
    let disk = try MemoryFile(bytes)
    let list = try MemoryFile()
    let verdict = Door.open(
      disk.descriptor, task: .list, options: ReadOptions(),
      output: DoorOutput(FileDescriptor(borrowing: list.descriptor.number)))
    let entries = try list.contents()
    #expect(entries.count == Int(verdict.outputBytes))
    #expect(entries.count % RecordEntry.byteCount == 0)
    return (
      verdict.failure,
      stride(from: 0, to: entries.count, by: RecordEntry.byteCount).map {
        RecordEntry(parsing: entries.rawSpan.extracting($0..<($0 + RecordEntry.byteCount)))
      }
    )
  }

  @Test func `records are listed up to the damage`() throws {
    var disk = try makeDisk(Self.state)
    let (failure, entries) = try Self.list(disk)
    #expect(failure == nil)
    #expect(
      entries.map(\.type) == [.streamBegin, .chunk, .chunk, .chunk, .chunk, .streamEnd, .commit])
    #expect(entries.map(\.sequence) == Array(0...6))
    #expect(entries[1].rawBytes == 65_536 && entries[1].codec == .none)
    disk[Int(entries[3].offset) + 100] ^= 1
    let (damaged, before) = try Self.list(disk)
    #expect(damaged == .disk(DiskError(.corrupt, .record, .hash, at: entries[3].offset)))
    #expect(before == Array(entries[..<3]))
  }

  @Test func `a flood of records is not listed without end`() throws {
    let file = try MemoryFile()
    var writer = DiskWriter(
      header: DiskHeader.Parsed(new: testHeader()),
      store: FileStore(FileDescriptor(borrowing: file.descriptor.number)), setting: .none,
      writesHeader: true)
    let record = RecordHeader(type: RecordType(number: 0x8000_0099))
    let empty = [UInt8]()
    for _ in 0..<66_000 { try writer.optionalRecord(like: record, body: empty.rawSpan) }
    try writer.beginStream(.qemu)
    try writer.endStream()
    _ = try writer.commit()
    let list = try MemoryFile()
    let verdict = Door.open(
      file.descriptor, task: .list, options: ReadOptions(),
      output: DoorOutput(FileDescriptor(borrowing: list.descriptor.number)))
    #expect(verdict.failure == nil)
    #expect(verdict.facts.recordCount == 66_003 && verdict.facts.optionalRecords == 66_000)
    #expect(verdict.outputBytes == 65_536 * UInt64(RecordEntry.byteCount))
  }

  @Test func `codecs that are not accepted, and none at all`() throws {
    let text = [UInt8](String(repeating: "abc", count: 1000).utf8)
    let disk = try makeDisk(text, setting: .lz4)
    var refusing = ReadOptions()
    refusing.acceptedCodecs = CodecSet(.zlib)
    guard case .disk(let error)? = try extract(disk, options: refusing).failure else {
      Issue.record("lz4 was accepted")
      return
    }
    #expect(error.verdict == .unsupported && error.field == .codec && error.found == 2)
    // A stored disk passes a reader that accepts no decompressor.
    let stored = try makeDisk(text, setting: .none)
    refusing.acceptedCodecs = .always
    #expect(try extract(stored, options: refusing) == Extraction(failure: nil, state: text))
  }

  /// Verified by what comes out: a body that no decoder takes is good while none is run.
  @Test func `without decoding no decoder is run`() throws {
    let fixture = try Repository.bytes("fixtures/corrupt/body-zlib-bomb.savedisk")
    guard case .disk(let error)? = try extract(fixture).failure else {
      Issue.record("the bomb was taken")
      return
    }
    #expect(error.structure == .chunk && error.field == .body)
    var options = ReadOptions()
    options.isDecoding = false
    let disk = try MemoryFile(fixture)
    let verdict = Door.open(
      disk.descriptor, task: .verify, options: options, output: .nowhere)
    #expect(verdict.failure == nil)
  }

  @Test func `an empty disk is told from a used one`() throws {
    let used = try MemoryFile(try makeDisk(Self.state))
    guard case .used = EmptyDisk.probe(used.descriptor) else {
      Issue.record("a used disk is called empty")
      return
    }
    for (capacity, bytes) in [(0, 4096), (8192, 8192), (12_288, 12_288)] {
      let header = testHeader(capacityBytes: UInt64(capacity))
      let block = try makeDisk([UInt8](), header: header).prefix(4096)
      let zeros = [UInt8](repeating: 0, count: bytes - 4096)
      let empty = try MemoryFile(block + zeros)
      guard case .empty(let parsed) = EmptyDisk.probe(empty.descriptor) else {
        Issue.record("an empty disk is called used")
        return
      }
      #expect(parsed.header == header)
      // What is written to a file of another length could not be read again.
      let longer = try MemoryFile(block + zeros + [UInt8](repeating: 0, count: 4096))
      guard case .otherSize(let found, _) = EmptyDisk.probe(longer.descriptor) else {
        Issue.record("a file of another length is called an empty disk")
        return
      }
      #expect(found == UInt64(bytes) + 4096)
    }
    let text = try MemoryFile([UInt8]("hello".utf8))
    guard case .failed(.disk(let error)) = EmptyDisk.probe(text.descriptor) else {
      Issue.record("text is called a disk")
      return
    }
    #expect(error.verdict == .notASaveDisk)
  }
}
