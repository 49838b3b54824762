import SaveDisk
import TestSupport

/// A field of formats/save-disk.md, of at most eight bytes.
struct FormatField {
  let offset: Int
  let size: Int

  static let header: [FormatField] = [
    FormatField(offset: Layout.Header.version, size: 4),
    FormatField(offset: Layout.Header.requiredFeatures, size: 4),
    FormatField(offset: Layout.Header.direction, size: 4),
    FormatField(offset: Layout.Header.chunkBytes, size: 4),
    FormatField(offset: Layout.Header.transferID, size: 8),
    FormatField(offset: Layout.Header.capacityBytes, size: 8),
    FormatField(offset: Layout.Header.maxRawBytes, size: 8),
    FormatField(offset: Layout.Header.allowedCodecs, size: 4),
    FormatField(offset: Layout.Header.maxStreams, size: 4),
    FormatField(offset: Layout.Header.recipientDomid, size: 4),
    FormatField(offset: Layout.Header.targetDomid, size: 4),
    FormatField(offset: Layout.Header.targetUUID, size: 8),
    FormatField(offset: Layout.Header.compatibleFeatures, size: 4),
    FormatField(offset: Layout.Header.reserved, size: 8),
  ]

  static let record: [FormatField] = [
    FormatField(offset: Layout.Record.type, size: 4),
    FormatField(offset: Layout.Record.stream, size: 4),
    FormatField(offset: Layout.Record.sequence, size: 8),
    FormatField(offset: Layout.Record.storedBytes, size: 4),
    FormatField(offset: Layout.Record.rawBytes, size: 4),
    FormatField(offset: Layout.Record.codec, size: 4),
    FormatField(offset: Layout.Record.reserved, size: 8),
    // Of whatever body follows.
    FormatField(offset: Layout.Record.body, size: 8),
    FormatField(offset: Layout.Record.body + Layout.StreamBegin.nameBytes, size: 4),
    FormatField(offset: Layout.Record.body + Layout.StreamBegin.flags, size: 4),
    FormatField(offset: Layout.Record.body + Layout.StreamBegin.name, size: 8),
    FormatField(offset: Layout.Record.body + Layout.Commit.recordCount, size: 8),
    FormatField(offset: Layout.Record.body + Layout.Commit.storedBytes, size: 8),
  ]
}

/// Changes of structure, which byte mutations hardly ever make.
enum Mutation {
  /// Values at which something changes.
  private static let notable: [UInt64] = [
    0, 1, 2, 3, 4, 5, 16, 17, 32, 33, 64, 128, 4096, 8192, 65_535, 65_536, 131_072, 1_048_576,
    1_048_577, 0x7FEF, 0x7FF0, 0x7FFF_FFFF, 0x8000_0000, 0x8000_0002, 0xFFFF_FFFF,
    1 << 62, 1 << 63, .max,
  ]

  static func changeField(
    of bytes: inout [UInt8], _ fields: [FormatField], at base: Int,
    _ generator: inout SeededGenerator
  ) {
    let field = fields[Int(generator.next() % UInt64(fields.count))]
    let offset = base + field.offset
    guard offset + field.size <= bytes.count else { return }
    let old = Mending.word(bytes, offset, field.size)
    let value: UInt64
    switch generator.next() % 5 {
    case 0: value = old &+ 1
    case 1: value = old &- 1
    case 2: value = old ^ 1 << (generator.next() % UInt64(8 * field.size))
    case 3: value = generator.next()
    default: value = notable[Int(generator.next() % UInt64(notable.count))]
    }
    Mending.put(value, size: field.size, &bytes, offset)
  }

  /// The log of `disk` with a record more, less, elsewhere or with another body.
  static func rearrange(_ disk: inout [UInt8], _ generator: inout SeededGenerator) {
    let places = Array(Records(disk))
    guard !places.isEmpty else { return }
    var records = places.map { [UInt8](disk[$0.start..<$0.end]) }
    let rest = [UInt8](disk[places[places.count - 1].end...])
    let (one, other) = (pick(records.count, &generator), pick(records.count, &generator))
    switch generator.next() % 7 {
    case 0: records.insert(records[one], at: other)
    case 1: records.remove(at: one)
    case 2: records.swapAt(one, other)
    case 3: records.insert(newRecord(&generator), at: one)
    case 4, 5: resizeBody(&records[one], by: Int(generator.next() % 17) - 8)
    default: records.removeLast(records.count - 1 - one)
    }
    disk = [UInt8](disk[..<Layout.blockBytes]) + records.flatMap { $0 }
    if generator.next() % 8 != 0 {
      disk += [UInt8](repeating: 0, count: -disk.count & (Layout.blockBytes - 1))
    } else {
      disk += rest
    }
  }

  private static func pick(_ count: Int, _ generator: inout SeededGenerator) -> Int {
    Int(generator.next() % UInt64(count))
  }

  private static func newRecord(_ generator: inout SeededGenerator) -> [UInt8] {
    let types: [UInt32] = [1, 2, 3, 4, 5, 6, 0x8000_0001, 0x8000_0009, 0x4000_0001, 0xE000_0001]
    let type = types[pick(types.count, &generator)]
    let lengths = [0, 1, 8, 63, 64, 65, 128, 200]
    let stored = lengths[pick(lengths.count, &generator)]
    var record = [UInt8](repeating: 0, count: Layout.recordBytes(storedBytes: stored))
    Mending.put(UInt64(type), size: 4, &record, Layout.Record.type)
    Mending.put(UInt64(stored), size: 4, &record, Layout.Record.storedBytes)
    Mending.put(UInt64(stored), size: 4, &record, Layout.Record.rawBytes)
    for index in 0..<stored {
      record[Layout.Record.body + index] = UInt8(truncatingIfNeeded: generator.next())
    }
    return record
  }

  /// Its length follows; a chunk's raw length too if it is stored as it is.
  private static func resizeBody(_ record: inout [UInt8], by change: Int) {
    let stored = Int(Mending.word32(record, Layout.Record.storedBytes))
    let new = max(0, stored + change)
    var body = [UInt8](record[Layout.Record.body..<(Layout.Record.body + stored)])
    resize(&body, to: new)
    let codec = Mending.word32(record, Layout.Record.codec)
    let isChunk = Mending.word32(record, Layout.Record.type) == RecordType.chunk.number
    record = [UInt8](record[..<Layout.Record.body]) + body
    resize(&record, to: Layout.recordBytes(storedBytes: new))
    Mending.put(UInt64(new), size: 4, &record, Layout.Record.storedBytes)
    if isChunk && codec == 0 {
      Mending.put(UInt64(new), size: 4, &record, Layout.Record.rawBytes)
    }
  }
}
