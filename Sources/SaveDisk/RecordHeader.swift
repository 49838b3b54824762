/// A record's type; bit 31 set means that a reader that does not know it may skip it.
public struct RecordType: Equatable, Sendable, BitwiseCopyable {
  public let number: UInt32

  public init(number: UInt32) { self.number = number }

  public static let streamBegin = RecordType(number: 1)
  public static let chunk = RecordType(number: 2)
  public static let streamEnd = RecordType(number: 3)
  public static let commit = RecordType(number: 4)
  public static let abort = RecordType(number: 5)

  public var isOptional: Bool { number >> 31 == 1 }

  /// Of an optional type: also who makes the log anew without knowing it keeps the record.
  public var isSafeToCopy: Bool { isOptional && number >> 29 & 1 == 1 }

  /// True if this version gives the type a meaning.
  public var isKnown: Bool { number >= 1 && number <= 5 }

  /// Length of the body of a known type; nil for a chunk, whose body is as coded.
  var bodyBytes: Int? {
    switch self {
    case .streamBegin: Layout.StreamBegin.bodyBytes
    case .streamEnd: Layout.StreamEnd.bodyBytes
    case .commit: Layout.Commit.bodyBytes
    case .abort: Layout.Abort.bodyBytes
    default: nil
    }
  }
}

/// The 64 bytes before each body (formats/save-disk.md, section 5.1).
public struct RecordHeader: Equatable, Sendable, BitwiseCopyable {
  /// As a number; stored most significant byte first.
  public var hash: UInt64 = 0
  public var type: RecordType
  public var stream: UInt32 = 0
  public var sequence: UInt64 = 0
  public var storedBytes: UInt32 = 0
  public var rawBytes: UInt32 = 0
  public var codec = Codec.none

  public init(type: RecordType) { self.type = type }

  /// Reads the fields up to `codec`; the reserved bytes are for the caller to check.
  public init(parsing cursor: inout ByteCursor) {
    hash = cursor.littleEndianUInt64().byteSwapped
    type = RecordType(number: cursor.littleEndianUInt32())
    stream = cursor.littleEndianUInt32()
    sequence = cursor.littleEndianUInt64()
    storedBytes = cursor.littleEndianUInt32()
    rawBytes = cursor.littleEndianUInt32()
    codec = Codec(number: cursor.littleEndianUInt32())
  }

  /// Bytes of the whole record on the disk.
  public var recordBytes: Int { Layout.recordBytes(storedBytes: Int(storedBytes)) }

  /// Puts all but the hash at the start of `record`, whose body is in place, pads it, and then
  /// makes the hash.
  mutating func encode(into record: inout MutableRawSpan, seed: UInt64) {
    let bodyEnd = Layout.Record.body + Int(storedBytes)
    record.zero(from: 0, count: Layout.recordHeaderBytes)
    record.zero(from: bodyEnd, count: recordBytes - bodyEnd)
    record.put(type.number, at: Layout.Record.type)
    record.put(stream, at: Layout.Record.stream)
    record.put(sequence, at: Layout.Record.sequence)
    record.put(storedBytes, at: Layout.Record.storedBytes)
    record.put(rawBytes, at: Layout.Record.rawBytes)
    record.put(codec.number, at: Layout.Record.codec)
    hash = Hash.record(record.bytes.extracting(Layout.Record.hashed..<bodyEnd), seed: seed)
    record.put(canonical: hash, at: Layout.Record.hash)
  }
}
