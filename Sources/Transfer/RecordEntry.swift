import SaveDisk
import SystemIO

/// One record as the door lists it: 64 bytes of dom0's own, numbers only.
///
/// `offset` u64, `sequence` u64, `type`, `stream`, `storedBytes`, `rawBytes`, `codec` u32 each,
/// all little-endian, the rest zero.
public struct RecordEntry: Equatable, Sendable, BitwiseCopyable {
  public static let byteCount = 64
  /// Of the longest list that the door makes.
  public static let maxListBytes = ListSink.maxEntries * UInt64(byteCount)

  public let offset: UInt64
  public let sequence: UInt64
  public let type: RecordType
  public let stream: UInt32
  public let storedBytes: UInt32
  public let rawBytes: UInt32
  public let codec: Codec

  init(_ record: PlacedRecord) {
    offset = record.offset
    sequence = record.header.sequence
    type = record.header.type
    stream = record.header.stream
    storedBytes = record.header.storedBytes
    rawBytes = record.header.rawBytes
    codec = record.header.codec
  }

  /// - Parameter bytes: at least 64.
  public init(parsing bytes: RawSpan) {
    var cursor = ByteCursor(bytes)
    offset = cursor.littleEndianUInt64()
    sequence = cursor.littleEndianUInt64()
    type = RecordType(number: cursor.littleEndianUInt32())
    stream = cursor.littleEndianUInt32()
    storedBytes = cursor.littleEndianUInt32()
    rawBytes = cursor.littleEndianUInt32()
    codec = Codec(number: cursor.littleEndianUInt32())
  }

  func encode(into bytes: inout MutableRawSpan) {
    bytes.zero(from: 0, count: RecordEntry.byteCount)
    bytes.put(offset, at: 0)
    bytes.put(sequence, at: 8)
    bytes.put(type.number, at: 16)
    bytes.put(stream, at: 20)
    bytes.put(storedBytes, at: 24)
    bytes.put(rawBytes, at: 28)
    bytes.put(codec.number, at: 32)
  }
}

/// Lists the records, up to a number that no ordinary disk has: a hostile one could have a million.
struct ListSink: LogSink {
  /// 4 GiB of chunks of 64 KiB; 4 MiB of entries.
  static let maxEntries: UInt64 = 65_536

  private var writer: DoorWriter

  init(output: borrowing DoorOutput) { writer = DoorWriter(output) }

  var position: OutputPosition { writer.position }

  private mutating func list(_ record: PlacedRecord) throws(SystemError) {
    guard writer.position.bytes < ListSink.maxEntries * UInt64(RecordEntry.byteCount) else {
      return
    }
    var entry = AlignedBuffer(byteCount: RecordEntry.byteCount)
    var bytes = entry.mutableBytes(0..<RecordEntry.byteCount)
    RecordEntry(record).encode(into: &bytes)
    try writer.write(entry.bytes(0..<RecordEntry.byteCount))
  }

  mutating func streamBegan(
    _ record: PlacedRecord, name: StreamName, flags: StreamFlags
  ) throws(SystemError) {
    try list(record)
  }

  mutating func chunk(_ record: PlacedRecord, raw: RawSpan) throws(SystemError) {
    try list(record)
  }

  mutating func optional(_ record: PlacedRecord, body: RawSpan) throws(SystemError) {
    try list(record)
  }

  mutating func streamEnded(_ record: PlacedRecord, summary: StreamSummary) throws(SystemError) {
    try list(record)
  }

  mutating func committed(_ record: PlacedRecord) throws(SystemError) { try list(record) }
}
