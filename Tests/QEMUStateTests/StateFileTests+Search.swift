import QEMUState
import SaveDisk
import TestSupport
import Testing

// Invariants (formats/save-disk.md, section 10, "Finding it"): a trailer with more behind it than one is long is found and never
// good, in a time that does not grow with what a file is full of; a cut within a magic is no state without a trailer.

extension StateFileTests {
  /// What a volume had before, behind a state that was written over it.
  private static let far =
    [UInt8](repeating: 0, count: Int(StateFile.maxTrailerBytes) + 64) + [1]

  @Test(arguments: [[], metadata]) func `much that follows`(metadata: [UInt8]) throws {
    let bytes = try Self.make(metadata: metadata)
    let zeros = [UInt8](repeating: 0, count: 300_000)
    var damaged = bytes
    damaged[20] ^= 1
    for file in [bytes, damaged] {
      for tail in [[], zeros, bytes + Self.far] {
        try expect(file + Self.far + tail, .corrupt, .trailing, at: bytes.count)  // T14
      }
      // Over the end of a piece that is read.
      for shift in [1, 8, 15, 16, 40, 63] {
        let before = [UInt8](repeating: 7, count: 262_144 - bytes.count + 64 - shift)
        try expect(
          before + file + Self.far, .corrupt, .trailing, at: before.count + bytes.count)
      }
    }
    // One that is damaged itself is not found there.
    var wrong = bytes
    wrong[bytes.count - 1] ^= 1
    guard case .none = try Self.check(wrong + Self.far) else {
      Issue.record("found by its magic alone")
      return
    }
  }

  @Test func `a state full of footers costs no more than the file`() throws {
    // Each would cost a hash over 1 MiB; of 32768 that is 32 GiB.
    let before = [UInt8](repeating: 7, count: Int(StateFile.maxTrailerBytes))
    var footer = [UInt8](try Self.make(metadata: []).suffix(64))
    for index in 32..<40 { footer[index] = 0 }
    footer[34] = 0x10
    footer[63] ^= 1
    func file(_ count: Int) -> [UInt8] {
      before + [[UInt8]](repeating: footer, count: count).joined() + Self.far
    }
    guard case .none = try Self.check(file(64)) else {
      Issue.record("a footer that does not fit counts")
      return
    }
    for count in [65, 32_768] {
      try expect(file(count), .corrupt, .trailing, at: before.count + 65 * 64)
    }
  }

  @Test(arguments: [[], metadata]) func `a cut within a magic`(metadata: [UInt8]) throws {
    let bytes = try Self.make(metadata: metadata)
    for count in 1...12 {
      let cut = [UInt8](bytes.prefix(Self.state.count + count))
      for file in [cut, cut + [UInt8](repeating: 0, count: 4000)] {
        if count >= 4 {
          try expect(file, .incomplete, .end, at: cut.count)
        } else {
          guard case .none = try Self.check(file) else {
            Issue.record("\(count) bytes may be chance")
            continue
          }
        }
      }
      // It is what the file begins with.
      guard case .none = try Self.check([UInt8](bytes[Self.state.count...].prefix(count))) else {
        Issue.record("a file that begins so")
        continue
      }
    }
  }
}
