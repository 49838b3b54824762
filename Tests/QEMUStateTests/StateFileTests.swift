import Codecs
import QEMUState
import SaveDisk
import SystemIO
import TestSupport
import Testing
import Transfer

// Invariants (formats/save-disk.md, section 10):
// - a state file that was made here checks as good, with the state's length, digest and metadata;
// - every check T1 to T14 can fail, with the verdict, field and offset that the document says;
// - no single flipped bit of a state file with metadata is taken for good, and none that is not in
//   both the magic and the hash makes the trailer vanish;
// - a file cut at any place is "none" or failed, never good, and failed where a part of the trailer is left;
// - a state file with zeros behind it is good, however its hash ends, and nothing else behind it is;
// - without a trailer a state may end in as many zeros as its last section's device, and no more.

@Suite struct StateFileTests {
  static let state: [UInt8] =
    [UInt8]("QEVM".utf8) + [0, 0, 0, 3] + (0..<300).map { UInt8($0 & 0xFF) }
  static let metadata = [UInt8]("qemu 7.2.22\nmachine pc\n".utf8)

  /// - Parameter footer: changes the footer's bytes before its hash is made right again.
  static func make(
    _ state: [UInt8] = state, metadata: [UInt8] = metadata
  ) throws -> [UInt8] {
    let file = try MemoryFile()
    try file.descriptor.writeAll(state.rawSpan)
    try StateFile.appendTrailer(
      to: file.descriptor, stateBytes: UInt64(state.count),
      stateDigest: Hash.digest(state.rawSpan), metadata: metadata, header: testHeader())
    return try file.contents()
  }

  static func check(_ bytes: [UInt8]) throws -> TrailerFinding {
    let file = try MemoryFile(bytes)
    return StateFile.check(file.descriptor, bytes: UInt64(bytes.count), options: ReadOptions())
  }

  /// Changes the footer and makes its hash right again.
  static func forge(_ bytes: [UInt8], _ change: (inout [UInt8]) -> Void) -> [UInt8] {
    let start = bytes.count - 64
    var footer = [UInt8](bytes[start...])
    let metadataBytes = Int(word(footer, 32))
    change(&footer)
    var hash = WordHashStream()
    hash.update([UInt8](bytes[(start - metadataBytes)..<start]).rawSpan)
    hash.update([UInt8](footer[16..<56]).rawSpan)
    let value = hash.value()
    for index in 0..<8 { footer[56 + index] = UInt8(value >> UInt64(56 - 8 * index) & 0xFF) }
    return bytes[..<start] + footer
  }

  static func word(_ bytes: [UInt8], _ offset: Int) -> UInt64 {
    (0..<8).reduce(0) { $0 | UInt64(bytes[offset + $1]) << UInt64(8 * $1) }
  }

  func expect(
    _ bytes: [UInt8], _ verdict: VerdictClass, _ field: DiskField, at offset: Int,
    _ structure: DiskStructure = .trailer, sourceLocation: SourceLocation = #_sourceLocation
  ) throws {
    guard case .failed(let error) = try Self.check(bytes) else {
      Issue.record("not failed", sourceLocation: sourceLocation)
      return
    }
    #expect(
      error.verdict == verdict && error.structure == structure && error.field == field
        && error.offset == UInt64(offset), "\(error)", sourceLocation: sourceLocation)
  }

  @Test(arguments: [[], metadata]) func `good`(metadata: [UInt8]) throws {
    let bytes = try Self.make(metadata: metadata)
    #expect(bytes.count == Self.state.count + (metadata.isEmpty ? 0 : 8192) + 64)
    #expect([UInt8](bytes.prefix(Self.state.count)) == Self.state)
    guard case .good(let facts) = try Self.check(bytes) else {
      Issue.record("not good")
      return
    }
    #expect(facts.stateBytes == UInt64(Self.state.count))
    #expect(facts.stateDigest == Hash.digest(Self.state.rawSpan))
    #expect(facts.metadata == metadata)
  }

  @Test func `an empty state`() throws {
    guard case .good(let facts) = try Self.check(try Self.make([], metadata: [])) else {
      Issue.record("not good")
      return
    }
    #expect(facts.stateBytes == 0)
  }

  @Test func `every check can fail`() throws {
    let bytes = try Self.make()
    let start = bytes.count - 64
    // T1
    for none in [[], Self.state, [UInt8](bytes.prefix(63)), [UInt8](Self.state + [0, 0])] {
      guard case .none = try Self.check(none) else {
        Issue.record("not none")
        continue
      }
    }
    try expect(Self.forge(bytes) { $0[3] ^= 1 }, .corrupt, .magic, at: start)  // T2
    var long = bytes
    for index in 0..<8 { long[start + 32 + index] = 0xFF }
    try expect(long, .corrupt, .metadataBytes, at: start + 32)  // T3
    var flipped = bytes
    flipped[start + 57] ^= 1
    try expect(flipped, .corrupt, .hash, at: start + 56)  // T4
    try expect(Self.forge(bytes) { $0[16] = 2 }, .unsupported, .version, at: start + 16)  // T5
    try expect(
      Self.forge(bytes) { $0[20] = 1 }, .unsupported, .requiredFeatures, at: start + 20)  // T6
    try expect(Self.forge(bytes) { $0[24] ^= 1 }, .corrupt, .stateBytes, at: start + 24)  // T7
    try expect(
      Self.forge(bytes) { for index in 24..<32 { $0[index] = 0xFF } }, .corrupt, .stateBytes,
      at: start + 24)
    // T8: metadata of 8192 - 4 bytes, the state 4 bytes longer.
    let shifted = Self.forge2(bytes, metadataBytes: 8188, stateBytes: UInt64(Self.state.count + 4))
    try expect(shifted, .corrupt, .metadataBytes, at: start + 32)
    try expect(Self.forge(bytes) { $0[40] ^= 1 }, .corrupt, .stateDigest, at: start + 40)  // T9
    var state = bytes
    state[10] ^= 1
    try expect(state, .corrupt, .stateDigest, at: start + 40)
  }

  /// Other lengths, with a hash that fits them.
  static func forge2(_ bytes: [UInt8], metadataBytes: UInt64, stateBytes: UInt64) -> [UInt8] {
    let start = bytes.count - 64
    var footer = [UInt8](bytes[start...])
    for index in 0..<8 {
      footer[24 + index] = UInt8(stateBytes >> UInt64(8 * index) & 0xFF)
      footer[32 + index] = UInt8(metadataBytes >> UInt64(8 * index) & 0xFF)
    }
    return forge(bytes[..<start] + footer) { _ in }
  }

  /// T10 and T11: the metadata is judged as an archive of its own.
  @Test func `metadata that is not good`() throws {
    let bytes = try Self.make()
    let first = Self.state.count
    func replacing(_ metadata: [UInt8]) -> [UInt8] {
      let tail = [UInt8](bytes.suffix(64))
      return Self.forge2(
        Self.state + metadata + tail, metadataBytes: UInt64(metadata.count),
        stateBytes: UInt64(Self.state.count))
    }
    var damaged = [UInt8](bytes[first..<(first + 8192)])
    damaged[4096 + 70] ^= 1
    try expect(replacing(damaged), .corrupt, .hash, at: first + 4096, .record)
    try expect(
      replacing([UInt8](repeating: 0, count: 4096)), .notASaveDisk, .magic, at: first, .header)
    let qemu = try makeDisk(Self.state)
    try expect(replacing(qemu), .corrupt, .metadata, at: first)
    let sized = try makeDisk([(.metadata, [1, 2, 3])], header: testHeader(capacityBytes: 8192))
    try expect(replacing(sized), .corrupt, .metadata, at: first)
    // An archive without a stream of that name is none the worse.
    let other = try makeDisk([(StreamName("tpm"), [1, 2, 3])])
    guard case .good(let facts) = try Self.check(replacing(other)) else {
      Issue.record("not good")
      return
    }
    #expect(facts.metadata.isEmpty)
  }

  @Test(arguments: [[], metadata], [1, 7, 8, 63, 64, 4096, 300_000])
  func `zeros behind it`(metadata: [UInt8], count: Int) throws {
    let bytes = try Self.make(metadata: metadata)
    guard case .good(let facts) = try Self.check(bytes + [UInt8](repeating: 0, count: count)) else {
      Issue.record("not good")
      return
    }
    #expect(facts.paddingBytes == UInt64(count) && facts.metadata == metadata)
    #expect(facts.wholeBytes == UInt64(bytes.count))
  }

  @Test func `a hash that ends in zeros`() throws {
    // One of 256 states has such a hash.
    for number in 0...UInt16.max {
      let state = Self.state + [UInt8(number & 0xFF), UInt8(number >> 8), 1]
      let bytes = try Self.make(state, metadata: [])
      guard bytes[bytes.count - 1] == 0 else { continue }
      for file in [bytes, bytes + [0, 0, 0]] {
        guard case .good(let facts) = try Self.check(file) else {
          Issue.record("not good")
          return
        }
        #expect(facts.paddingBytes == UInt64(file.count - bytes.count))
      }
      // Found by its hash alone.
      var spoilt = bytes + [UInt8](repeating: 0, count: 100)
      spoilt[bytes.count - 60] ^= 4
      return try expect(spoilt, .corrupt, .magic, at: bytes.count - 64)
    }
    Issue.record("no such hash")
  }

  @Test func `what follows, and what is missing`() throws {
    let bytes = try Self.make()
    let start = bytes.count - 64
    let zeros = [UInt8](repeating: 0, count: 5000)
    try expect(bytes + [1], .corrupt, .trailing, at: bytes.count)  // T14
    try expect(bytes + zeros + [1] + zeros, .corrupt, .trailing, at: bytes.count)
    for index in [0, 10, Self.state.count + 4200, start + 3, start + 30, start + 60] {
      var flipped = bytes + zeros
      flipped[index] ^= 16
      guard case .failed(let error) = try Self.check(flipped) else {
        Issue.record("byte \(index) flipped, and zeros behind")
        continue
      }
      #expect(error.verdict == .corrupt || error.verdict == .unsupported)
    }
    // T13: something of the trailer is left, from the 13 bytes on by which it is found.
    for count in stride(from: Self.state.count + 13, to: bytes.count, by: 83) {
      for tail in [[], zeros] {
        guard case .failed(let error) = try Self.check([UInt8](bytes.prefix(count)) + tail) else {
          Issue.record("cut at \(count)")
          continue
        }
        #expect(error.verdict == .incomplete || error.verdict == .corrupt)
      }
    }
    let content = bytes.prefix(start + 12).lastIndex { $0 != 0 } ?? 0
    try expect([UInt8](bytes.prefix(start + 12)), .incomplete, .end, at: content + 1)
  }

  @Test(arguments: [
    ("0000:00:02.0/ne2000", 65_536), ("ne2000", 65_536), ("0000:00:1f.3/virtio-net", 65_536),
    ("0000:00:02.0/lsiscsi", 16_384), ("0000:00:02.0/qxl", 16_384), ("vga", 4096),
    ("0000:00:02.0/virtio-", 4096), ("xne2000", 4096), ("0000:00:02.0/ne2000/more", 4096),
  ])
  func `zeros of a state without trailer`(name: String, most: Int) throws {
    let header =
      [0x04, 0, 0, 0, 9, UInt8(name.utf8.count)] + [UInt8](name.utf8) + [0, 0, 0, 0, 0, 0, 0, 3]
    let state = Self.state + header + [UInt8](repeating: 0xAA, count: 20_000)
    for (count, isFine) in [(most, true), (most + 1, false)] {
      let file = state + [UInt8](repeating: 0, count: count)
      if isFine {
        guard case .none = try Self.check(file) else {
          Issue.record("\(count) zeros of a \(name) are refused")
          continue
        }
      } else {
        try expect(file, .corrupt, .end, at: state.count)
      }
    }
  }

  @Test func `no flipped bit is good`() throws {
    let bytes = try Self.make()
    for index in stride(from: 0, to: bytes.count, by: Thoroughness.stride) {
      for bit in 0..<8 {
        var flipped = bytes
        flipped[index] ^= 1 << UInt8(bit)
        switch try Self.check(flipped) {
        case .failed: break
        default: Issue.record("bit \(bit) of byte \(index)")
        }
      }
    }
  }

  @Test func `no cut is good`() throws {
    let bytes = try Self.make()
    for count in stride(from: 0, to: bytes.count, by: Thoroughness.stride) {
      if case .good = try Self.check([UInt8](bytes.prefix(count))) {
        Issue.record("cut at \(count)")
      }
    }
  }
}
