import Codecs
import SaveDisk
import SystemIO
import TestSupport
import Testing
import Transfer

// Invariants:
// - a save is writes, each byte once and in order, then one flush, and nothing after it;
// - whatever part of the writes a crash leaves (every prefix, every subset since the last flush,
//   every write torn at 512 bytes), the disk is incomplete, corrupt or no save disk yet, or good
//   with exactly the right bytes; on an allocated disk, a file that grows, and over a stale log;
// - only when all that matters has arrived is it good.

@Suite struct CrashStateTests {
  static let sectorBytes = 512

  /// One save: what was there before, what was written, what must come back.
  struct Save: Sendable, CustomTestStringConvertible {
    let testDescription: String
    /// The disk before the first write; empty for a new file.
    let base: [UInt8]
    let writes: [(offset: Int, bytes: [UInt8])]
    let state: [UInt8]
  }

  static func save(
    _ name: String, _ state: [UInt8], capacityBytes: UInt64, setting: CodecSetting = .auto,
    stale: Bool = false
  ) throws -> Save {
    var header = testHeader(seed: 21, capacityBytes: capacityBytes)
    header.chunkBytes = 65_536
    var base: [UInt8] = []
    if capacityBytes != 0 {
      // A device that could not be zeroed: another transfer's log behind the new header.
      let old =
        stale
        ? try makeDisk(state, header: testHeader(seed: 22, capacityBytes: capacityBytes)) : []
      base = [UInt8](repeating: 0, count: Int(capacityBytes))
      for (index, byte) in old.enumerated() { base[index] = byte }
      let block = try makeDisk([UInt8](), header: header).prefix(4096)
      for (index, byte) in block.enumerated() { base[index] = byte }
    }
    var writer = DiskWriter(
      header: DiskHeader.Parsed(new: header), store: RecordingStore(), setting: setting,
      writesHeader: capacityBytes == 0)
    try writer.beginStream(.qemu)
    try writer.write(state.rawSpan)
    try writer.endStream()
    _ = try writer.commit()
    var writes: [(offset: Int, bytes: [UInt8])] = []
    for event in writer.store.events.dropLast() {
      guard case .write(let offset, let bytes) = event else {
        Issue.record("a flush before the end")
        break
      }
      writes.append((offset, bytes))
    }
    #expect(writer.store.events.last == .flush)
    return Save(testDescription: name, base: base, writes: writes, state: state)
  }

  static func small() throws -> [Save] {
    // Two blocks of log: with the header's two sectors 14 that are not zero.
    var generator = SeededGenerator(seed: 20)
    let noise = generator.bytes(5400)
    return [
      try save("small, new file", noise, capacityBytes: 0),
      try save("small, allocated", noise, capacityBytes: 16_384),
      try save("small, over a stale log", noise, capacityBytes: 16_384, stale: true),
      try save("small, empty state", [], capacityBytes: 8192),
    ]
  }

  static func large() throws -> [Save] {
    var generator = SeededGenerator(seed: 23)
    let noise = generator.bytes(700_000)
    return [
      try save("large, new file", noise, capacityBytes: 0),
      try save("large, allocated", noise, capacityBytes: 1 << 20),
      try save(
        "a real state, stored", try Repository.bytes("fixtures/states/x06-pc-linux-2vcpu.dev"),
        capacityBytes: 1 << 20, setting: .none),
    ]
  }

  /// A crash state under construction.
  struct Wreck: ~Copyable {
    let save: Save
    let file: MemoryFile
    /// What a sector holds that has not arrived. A new file has its full length already, as
    /// after a crash between length and data.
    let base: [UInt8]

    init(_ save: Save) throws {
      self.save = save
      let length = save.writes.map { $0.offset + $0.bytes.count }.max() ?? 0
      base = save.base.isEmpty ? [UInt8](repeating: 0, count: length) : save.base
      file = try MemoryFile(save.base)
    }

    func reset() throws {
      try file.descriptor.truncate(to: 0)
      try file.write(base, at: 0)
    }

    func apply(_ offset: Int, _ bytes: ArraySlice<UInt8>) throws {
      try file.write(Array(bytes), at: offset)
    }

    /// True if the disk is good; records an issue if it is anything that it must not be.
    func judge(_ what: @autoclosure () -> String) throws -> Bool {
      let found = try extract(file.descriptor)
      switch found.failure {
      case nil:
        if found.state != save.state { Issue.record("\(what()): good with other bytes") }
        return true
      case .disk(let error)?:
        switch error.verdict {
        case .corrupt, .incomplete: return false
        case .notASaveDisk where save.base.isEmpty: return false
        default: Issue.record("\(what()): \(error)")
        }
      default: Issue.record("\(what()): \(String(describing: found.failure))")
      }
      return false
    }
  }

  @Test(arguments: try small() + large())
  func `each byte is written once and in order`(save: Save) {
    var next = save.base.isEmpty ? 0 : 4096
    for write in save.writes {
      #expect(write.offset == next && write.offset % 4096 == 0 && write.bytes.count % 4096 == 0)
      next += write.bytes.count
    }
  }

  @Test(arguments: try small() + large())
  func `every prefix of the writes, torn at every sector`(save: Save) throws {
    let wreck = try Wreck(save)
    var good = 0
    let pieces = Self.sectors(save)
    #expect(try !wreck.judge("nothing"))
    for (index, piece) in pieces.enumerated() {
      try wreck.apply(piece.offset, piece.bytes)
      if try wreck.judge("\(index + 1) sectors") { good += 1 }
    }
    #expect(good >= 1, "all of it must be good")
    #expect(try wreck.judge("all"))
  }

  /// All subsets of the sectors for one small disk would be 2^16: that many are tried in a
  /// release build, by Gray code so that each differs from the one before in one sector.
  @Test(arguments: try small())
  func `every subset of the sectors of a small save`(save: Save) throws {
    let wreck = try Wreck(save)
    try wreck.reset()
    // A sector that is to be what it is already cannot be missing.
    let pieces = Self.sectors(save).filter { piece in
      !wreck.base[piece.offset..<(piece.offset + piece.bytes.count)].elementsEqual(piece.bytes)
    }
    try #require(pieces.count >= 1 && pieces.count <= 16)
    var present = [Bool](repeating: false, count: pieces.count)
    var good = 0
    let subsets = 1 << pieces.count
    for number in 1..<Thoroughness.count(subsets, debug: 600) {
      let index = number.trailingZeroBitCount
      present[index].toggle()
      let piece = pieces[index]
      let old = wreck.base[piece.offset..<(piece.offset + piece.bytes.count)]
      try wreck.apply(piece.offset, present[index] ? piece.bytes : old)
      if try wreck.judge("subset \(number)") {
        good += 1
        #expect(!present.contains(false), "good with a sector missing")
      }
    }
    if Thoroughness.isExhaustive { #expect(good == 1) }
  }

  @Test(arguments: try large())
  func `subsets of the writes of a large save, torn at any sector`(save: Save) throws {
    let wreck = try Wreck(save)
    var generator = SeededGenerator(seed: 24)
    let count = save.writes.count
    try #require(count >= 2)
    // Every subset of whole writes where there are few, then seeded ones of sectors.
    let subsets = min(1 << min(count, 10), Thoroughness.count(1 << 10, debug: 32))
    for number in 0..<subsets {
      try wreck.reset()
      var all = true
      for (index, write) in save.writes.enumerated() {
        let isThere = index < 10 ? number >> index & 1 == 1 : Bool.random(using: &generator)
        if isThere { try wreck.apply(write.offset, write.bytes[...]) } else { all = false }
      }
      #expect(try wreck.judge("subset \(number)") == all)
    }
    let pieces = Self.sectors(save)
    for number in 0..<Thoroughness.count(400, debug: 20) {
      try wreck.reset()
      // Mostly there, so that the damage is found late.
      let missing = Set(
        (0...Int.random(in: 0..<3, using: &generator)).map { _ in
          Int.random(in: 0..<pieces.count, using: &generator)
        })
      for (index, piece) in pieces.enumerated() where !missing.contains(index) {
        try wreck.apply(piece.offset, piece.bytes)
      }
      let matters = missing.contains { !pieces[$0].bytes.allSatisfy { $0 == 0 } }
      #expect(try wreck.judge("sectors \(number)") == !matters)
    }
  }

  static func sectors(_ save: Save) -> [(offset: Int, bytes: ArraySlice<UInt8>)] {
    save.writes.flatMap { write in
      stride(from: 0, to: write.bytes.count, by: sectorBytes).map { start in
        (write.offset + start, write.bytes[start..<min(start + sectorBytes, write.bytes.count)])
      }
    }
  }
}
