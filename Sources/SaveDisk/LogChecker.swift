/// The verdict rule (formats/save-disk.md, section 7) as a state machine: is given each record
/// once, in order, and refuses the first that does not fit.
///
/// Does no I/O and no decoding. The reader drives it with bytes from a disk; the writer drives it
/// with the records that it is about to write. Use: `frame`, fetch that many bytes, `accept`;
/// after a chunk `decoded` or `decodingFailed`; after the commit `finish`. After an error it must
/// not be used again.
public struct LogChecker: ~Copyable {
  public let header: DiskHeader
  let headerHash: Bytes16
  let limits: ReaderLimits
  let acceptedCodecs: CodecSet
  let knownStreams: KnownStreams
  /// False: chunks are not decoded, stream digests (S4) not compared.
  let isDecoding: Bool

  /// Where the next record starts, from the start of the input.
  public internal(set) var position = UInt64(Layout.blockBytes)
  /// Records accepted so far; the next one's sequence number.
  public internal(set) var recordCount: UInt64 = 0
  /// Sums over all streams so far.
  public internal(set) var rawBytes: UInt64 = 0
  public internal(set) var storedBytes: UInt64 = 0
  public internal(set) var streamCount = 0

  var names = InlineArray<16, StreamName>(repeating: .qemu)
  var open: OpenStream?
  var logDigest = DigestStream()
  var rawDigest = DigestStream()
  var isCommitted = false

  /// The stream between its begin and its end.
  struct OpenStream {
    var rawBytes: UInt64 = 0
    var storedBytes: UInt64 = 0
    var chunkCount: UInt64 = 0
    /// A chunk that is not full has been seen: no other may follow.
    var isShort = false
  }

  /// - Parameters:
  ///   - acceptedCodecs: what the reader accepts; `none` and `zeros` always are.
  ///   - knownStreams: what it knows of those that must be understood.
  ///   - isDecoding: chunks will be decoded and reported with `decoded`.
  public init(
    header: DiskHeader.Parsed, limits: ReaderLimits, acceptedCodecs: CodecSet,
    knownStreams: KnownStreams = .ours, isDecoding: Bool
  ) {
    self.header = header.header
    self.headerHash = header.hash
    self.limits = limits
    self.acceptedCodecs = acceptedCodecs.union(.always)
    self.knownStreams = knownStreams
    self.isDecoding = isDecoding
  }

  /// Digest of the log before the next record: what a commit at this place must carry.
  var currentLogDigest: Bytes16 { logDigest.value() }

  /// Checks R1 to R6, which need only the record's first 64 bytes.
  ///
  /// - Parameter available: the 64 bytes at `position`, or as many as there are before the end.
  /// - Returns: the length of the whole record in bytes, padding included: at most 1 MiB + 64.
  public func frame(_ available: RawSpan) throws(DiskError) -> Int {
    precondition(!isCommitted)
    if available.isEmpty {  // R1
      throw DiskError(.incomplete, .disk, .end, at: position)
    }
    guard available.byteCount >= Layout.recordHeaderBytes else {  // R2
      throw DiskError(
        .incomplete, .record, .end, at: position + UInt64(available.byteCount),
        found: UInt64(available.byteCount), expected: UInt64(Layout.recordHeaderBytes))
    }
    if available.extracting(0..<Layout.recordHeaderBytes).isAllZero {  // R3
      throw DiskError(.incomplete, .disk, .end, at: position)
    }
    var cursor = ByteCursor(available)
    let record = RecordHeader(parsing: &cursor)
    let storedField = position + UInt64(Layout.Record.storedBytes)
    guard record.storedBytes <= header.chunkBytes else {  // R4
      throw DiskError(
        .corrupt, .record, .storedBytes, at: storedField, found: UInt64(record.storedBytes),
        expected: UInt64(header.chunkBytes))
    }
    let end = position + UInt64(record.recordBytes)
    guard header.capacityBytes == 0 || end <= header.capacityBytes else {  // R5
      throw DiskError(
        .corrupt, .record, .storedBytes, at: storedField, found: end,
        expected: header.capacityBytes)
    }
    let logBytes = end - UInt64(Layout.blockBytes)
    guard logBytes <= limits.maxLogBytes else {  // R6
      throw DiskError(
        .overLimit, .record, .storedBytes, at: storedField, found: logBytes,
        expected: limits.maxLogBytes)
    }
    return record.recordBytes
  }

  /// Checks R7 to C9 of one record and takes it into account.
  ///
  /// - Parameters:
  ///   - bytes: the record, of the length that `frame` gave, or what there is of it before the end
  ///     of the input.
  ///   - checksHash: false only for the writer, which has made the hash just now.
  public mutating func accept(
    _ bytes: RawSpan, checksHash: Bool = true
  ) throws(DiskError) -> LogEvent {
    precondition(!isCommitted)
    var cursor = ByteCursor(bytes)
    let record = RecordHeader(parsing: &cursor)
    guard bytes.byteCount >= record.recordBytes else {  // R7
      throw DiskError(
        .incomplete, .record, .end, at: position + UInt64(bytes.byteCount),
        found: UInt64(bytes.byteCount), expected: UInt64(record.recordBytes))
    }
    let bodyEnd = Layout.Record.body + Int(record.storedBytes)
    let seed = header.transferSeed
    guard
      !checksHash
        || Hash.record(bytes.extracting(Layout.Record.hashed..<bodyEnd), seed: seed) == record.hash
    else { throw corrupt(.record, .hash, Layout.Record.hash) }  // R8
    if let offset = cursor.firstNonZero(count: Layout.Record.body - Layout.Record.reserved) {
      throw corrupt(.record, .reserved, offset)  // R9
    }
    let padding = bytes.extracting(bodyEnd..<record.recordBytes)
    if let offset = padding.firstNonZero {  // R10
      throw corrupt(.record, .padding, bodyEnd + offset)
    }
    guard record.sequence == recordCount else {  // R11
      throw corrupt(
        .record, .sequence, Layout.Record.sequence, found: record.sequence, expected: recordCount)
    }
    let event = try check(record, body: bytes.extracting(Layout.Record.body..<bodyEnd))
    logDigest.update(bytes.extracting(0..<record.recordBytes))
    recordCount += 1
    position += UInt64(record.recordBytes)
    return event
  }

  /// The raw bytes of the chunk that was accepted last.
  public mutating func decoded(_ raw: RawSpan) {
    precondition(isDecoding)
    rawDigest.update(raw)
  }

  /// D7, for the chunk that was accepted last.
  public func decodingFailed(_ record: RecordHeader) -> DiskError {
    let start = position - UInt64(record.recordBytes)
    return DiskError(.corrupt, .chunk, .body, at: start + UInt64(Layout.Record.body))
  }

  /// A verdict of corruption in the record at `position`.
  func corrupt(
    _ structure: DiskStructure, _ field: DiskField, _ offset: Int, found: UInt64 = 0,
    expected: UInt64 = 0
  ) -> DiskError {
    DiskError(
      .corrupt, structure, field, at: position + UInt64(offset), found: found, expected: expected)
  }
}
