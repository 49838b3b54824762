import SaveDisk
import SystemIO
import TestSupport
import Testing
import Transfer

// Invariants:
// - every single-bit flip from the header to the end of the commit's block is refused with 2, 3, 4,
//   6 or 7, by a reader that decodes and by one that does not;
// - a flip behind that, on an allocated disk, changes nothing;
// - nothing crashes, whatever is flipped.

@Suite struct BitFlipTests {
  static let refusals: Set<VerdictClass> = [
    .corrupt, .incomplete, .notASaveDisk, .unsupported, .overLimit,
  ]

  @Test(arguments: try SmallDisk.all())
  func `every flip is refused`(disk: SmallDisk) throws {
    let file = try MemoryFile(disk.bytes)
    let good = Door.open(
      file.descriptor, task: .verify, options: ReadOptions(), output: .nowhere)
    #expect(good.failure == nil)
    let end = Int(good.facts.diskBytes)
    var bytes = disk.bytes
    var verdicts: [VerdictClass: Int] = [:]
    var withoutDecoding = ReadOptions()
    withoutDecoding.isDecoding = false
    for offset in stride(from: 0, to: end, by: Thoroughness.stride) {
      // In a debug build one bit of each byte.
      for bit in Thoroughness.isExhaustive ? Array(0..<8) : [(offset * 5) % 8] {
        bytes[offset] ^= 1 << bit
        try file.write([bytes[offset]], at: offset)
        for options in [ReadOptions(), withoutDecoding] {
          let verdict = Door.open(
            file.descriptor, task: .verify, options: options, output: .nowhere)
          guard case .disk(let error)? = verdict.failure, Self.refusals.contains(error.verdict)
          else {
            Issue.record("byte \(offset) bit \(bit): \(String(describing: verdict.failure))")
            return
          }
          verdicts[error.verdict, default: 0] += 1
        }
        bytes[offset] ^= 1 << bit
        try file.write([bytes[offset]], at: offset)
      }
    }
    let bits = Thoroughness.isExhaustive ? 8 : 1
    let flips = 2 * bits * ((end + Thoroughness.stride - 1) / Thoroughness.stride)
    #expect(verdicts.values.reduce(0, +) == flips)
    // The magic's flips, and nothing else, make it no save disk.
    let ofTheMagic = (16 + Thoroughness.stride - 1) / Thoroughness.stride
    #expect(verdicts[.notASaveDisk] == 2 * bits * ofTheMagic)
    #expect(verdicts[.corrupt, default: 0] > flips * 9 / 10)
    #expect(try extract(file.descriptor) == Extraction(failure: nil, state: disk.state))
  }

  @Test func `bytes behind the commit's block of an allocated disk do not count`() throws {
    let disk = try #require(try SmallDisk.all().first { $0.bytes.count == 16_384 })
    for offset in [8192, 12_000, 16_383] {
      var bytes = disk.bytes
      bytes[offset] ^= 0xFF
      #expect(try extract(bytes) == Extraction(failure: nil, state: disk.state))
    }
  }

  @Test func `flips in a real state's disk are refused`() throws {
    let state = try Repository.bytes("fixtures/states/x06-pc-linux-2vcpu.dev")
    let disk = try makeDisk(state)
    #expect(try extract(disk) == Extraction(failure: nil, state: state))
    let file = try MemoryFile(disk)
    var generator = SeededGenerator(seed: 12)
    for _ in 0..<Thoroughness.count(2000, debug: 100) {
      let offset = Int.random(in: 0..<disk.count, using: &generator)
      try file.write([disk[offset] ^ 1 << UInt8.random(in: 0..<8, using: &generator)], at: offset)
      let failure = try extract(file.descriptor).failure
      guard case .disk? = failure else {
        Issue.record("byte \(offset): \(String(describing: failure))")
        return
      }
      try file.write([disk[offset]], at: offset)
    }
  }
}
