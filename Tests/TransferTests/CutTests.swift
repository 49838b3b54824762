import SaveDisk
import SystemIO
import TestSupport
import Testing
import Transfer

// Invariants:
// - a disk cut anywhere is not a save disk (inside block 0), incomplete, or corrupt (an allocated
//   disk cut behind its end is an archive with something behind it), or good with exactly the right
//   bytes; nothing else;
// - a pipe that ends there gets the same verdict, but for what a file's length decides.

@Suite struct CutTests {
  @Test(arguments: try SmallDisk.all())
  func `every cut`(disk: SmallDisk) throws {
    let whole = try MemoryFile(disk.bytes)
    let end = Int(
      Door.open(whole.descriptor, task: .verify, options: ReadOptions(), output: .nowhere).facts
        .diskBytes)
    let file = try MemoryFile(disk.bytes)
    var seen: [VerdictClass: Int] = [:]
    let lengths =
      Thoroughness.isExhaustive
      ? Array((0..<disk.bytes.count).reversed())
      : Array(stride(from: disk.bytes.count - 1, through: 0, by: -7))
    for length in lengths {
      try file.descriptor.truncate(to: UInt64(length))
      let found = try extract(file.descriptor)
      switch found.failure {
      case nil:
        // Only an allocated disk cut exactly at its end is whole.
        #expect(length == end && found.state == disk.state)
        seen[.good, default: 0] += 1
      case .disk(let error)?:
        seen[error.verdict, default: 0] += 1
        switch error.verdict {
        case .notASaveDisk: #expect(length < 16)
        case .incomplete: #expect(length >= 16 && length < end)
        case .corrupt: #expect(length > end && error.field == .trailing)
        default: Issue.record("cut at \(length): \(error)")
        }
      default: Issue.record("cut at \(length): \(String(describing: found.failure))")
      }
    }
    #expect(seen.values.reduce(0, +) == lengths.count)
    #expect(seen[.incomplete, default: 0] > 0 && seen[.notASaveDisk, default: 0] > 0)
  }

  /// Writing less than a pipe holds (64 KiB) before anyone reads needs no second thread.
  @Test func `a pipe gets the verdict of a file`() throws {
    let disk = try #require(try SmallDisk.all().first)
    for length in stride(from: 0, through: disk.bytes.count, by: Thoroughness.isExhaustive ? 1 : 61)
    {
      let cut = [UInt8](disk.bytes.prefix(length))
      let pipe = try LocalPipe()
      try pipe.writer.writeAll(cut.rawSpan)
      pipe.closeWriter()
      #expect(try extract(pipe.reader) == extract(cut))
    }
    let pipe = try LocalPipe()
    try pipe.writer.writeAll((disk.bytes + [0]).rawSpan)
    pipe.closeWriter()
    let end = UInt64(disk.bytes.count)
    let found = DiskError(.corrupt, .disk, .trailing, at: end, expected: end)
    #expect(try extract(pipe.reader).failure == .disk(found))
  }
}
