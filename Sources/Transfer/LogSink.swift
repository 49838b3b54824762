import SaveDisk
import SystemIO

/// Takes what a walk finds, record by record, each after all its checks.
///
/// **Nothing of it may be handed on before the walk has ended well.**
public protocol LogSink: ~Copyable {
  mutating func streamBegan(
    _ record: PlacedRecord, name: StreamName, flags: StreamFlags
  ) throws(SystemError)
  /// - Parameter raw: the decoded bytes; empty if the walk does not decode.
  mutating func chunk(_ record: PlacedRecord, raw: RawSpan) throws(SystemError)
  mutating func optional(_ record: PlacedRecord, body: RawSpan) throws(SystemError)
  mutating func streamEnded(_ record: PlacedRecord, summary: StreamSummary) throws(SystemError)
  mutating func committed(_ record: PlacedRecord) throws(SystemError)
}

/// A record's header and where it starts.
public struct PlacedRecord: Sendable, BitwiseCopyable {
  /// From the start of the input, in bytes.
  public let offset: UInt64
  public let header: RecordHeader

  public init(offset: UInt64, header: RecordHeader) {
    self.offset = offset
    self.header = header
  }
}

extension LogSink where Self: ~Copyable {
  public mutating func streamBegan(_ record: PlacedRecord, name: StreamName, flags: StreamFlags) {}
  public mutating func chunk(_ record: PlacedRecord, raw: RawSpan) {}
  public mutating func optional(_ record: PlacedRecord, body: RawSpan) {}
  public mutating func streamEnded(_ record: PlacedRecord, summary: StreamSummary) {}
  public mutating func committed(_ record: PlacedRecord) {}
}

/// Takes nothing: for verifying.
public struct NoSink: LogSink {
  /// Not empty: Swift passes any address for a value without bytes, and ThreadSanitizer then takes two
  /// of them for one.
  private let place: UInt8 = 0

  public init() {}
}
