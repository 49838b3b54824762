/// Builds the records of a log, one after the other, in memory that the caller gives
/// (formats/save-disk.md, sections 5 and 9).
///
/// Each record that it has built is parsed again by `LogChecker`, the reader's own code, before
/// the caller gets it; the commit is therefore parsed before it is written. Does no I/O. After an
/// error every call but `abort` throws `EncodingError.broken`.
public struct LogEncoder: ~Copyable {
  public let header: DiskHeader
  private let headerHash: Bytes16
  private var checker: LogChecker
  private var rawDigest = DigestStream()
  /// Of the open stream, in `rawDigest`.
  private var digestedBytes: UInt64 = 0
  private var isBroken = false
  private var isEnded = false

  private var streamCount: UInt32 = 0
  private var openStream: OpenStream?
  private var recordCount: UInt64 = 0
  private var rawBytes: UInt64 = 0
  private var storedBytes: UInt64 = 0
  /// Where the next record goes, from the start of the disk.
  public private(set) var position = UInt64(Layout.blockBytes)

  private struct OpenStream {
    var rawBytes: UInt64 = 0
    var chunkCount: UInt64 = 0
  }

  public init(header: DiskHeader.Parsed) {
    self.header = header.header
    self.headerHash = header.hash
    // Its own limits are the disk's; the reader's do not bind the writer.
    self.checker = LogChecker(
      header: header, limits: ReaderLimits(maxStateBytes: .max),
      acceptedCodecs: CodecSet(bits: .max), knownStreams: .all, isDecoding: false)
  }

  /// Bytes that a buffer must have for any record of this disk.
  public var maxRecordBytes: Int { Layout.recordBytes(storedBytes: Int(header.chunkBytes)) }

  /// - Parameter out: room for the record, at least 128 bytes.
  /// - Returns: the record's length in bytes, padding included.
  public mutating func beginStream(
    _ name: StreamName, flags: StreamFlags = .none, into out: inout MutableRawSpan
  ) throws(EncodingError) -> Int {
    try require(openStream == nil && streamCount < header.maxStreams)
    out.zero(from: Layout.Record.body, count: Layout.StreamBegin.bodyBytes)
    let body = Layout.Record.body
    out.put(header.transferID, at: body + Layout.StreamBegin.transferID)
    out.put(UInt32(name.count), at: body + Layout.StreamBegin.nameBytes)
    out.put(flags.bits, at: body + Layout.StreamBegin.flags)
    for index in 0..<name.count {
      out.storeBytes(
        of: name[index], toByteOffset: body + Layout.StreamBegin.name + index, as: UInt8.self)
    }
    var record = RecordHeader(type: .streamBegin)
    record.stream = streamCount
    record.storedBytes = UInt32(Layout.StreamBegin.bodyBytes)
    let length = try seal(&record, in: &out)
    streamCount += 1
    openStream = OpenStream()
    rawDigest.reset()
    digestedBytes = 0
    return length
  }

  /// A chunk whose coded body already lies at offset 64 of `out`.
  ///
  /// - Parameters:
  ///   - raw: the bytes that the body decodes to; all but a stream's last are full chunks.
  ///   - storedBytes: length of the coded body.
  public mutating func chunk(
    raw: RawSpan, codec: Codec, storedBytes: Int, into out: inout MutableRawSpan
  ) throws(EncodingError) -> Int {
    let length = try chunk(
      rawBytes: raw.byteCount, codec: codec, storedBytes: storedBytes, checksHash: true, into: &out)
    digest(raw)
    return length
  }

  /// The same where the raw bytes are not at hand: they are given to `digest`, in their order, before
  /// the stream ends.
  ///
  /// - Parameter checksHash: the record's hash is made a second time and compared.
  public mutating func chunk(
    rawBytes count: Int, codec: Codec, storedBytes: Int, checksHash: Bool,
    into out: inout MutableRawSpan
  ) throws(EncodingError) -> Int {
    guard var stream = openStream else { throw fail(.outOfOrder) }
    let sum = rawBytes + UInt64(count)
    guard header.maxRawBytes == 0 || sum <= header.maxRawBytes else {
      throw fail(.overMaxRawBytes(header.maxRawBytes))
    }
    var record = RecordHeader(type: .chunk)
    record.stream = streamCount - 1
    record.storedBytes = UInt32(storedBytes)
    record.rawBytes = UInt32(count)
    record.codec = codec
    let length = try seal(&record, in: &out, checksHash: checksHash)
    rawBytes = sum
    self.storedBytes += UInt64(storedBytes)
    stream.rawBytes += UInt64(count)
    stream.chunkCount += 1
    openStream = stream
    return length
  }

  /// The next raw bytes of the open stream, for its digest.
  public mutating func digest(_ raw: RawSpan) {
    rawDigest.update(raw)
    digestedBytes += UInt64(raw.byteCount)
  }

  /// An optional record of a type that this version gives no meaning; its body already lies at
  /// offset 64 of `out`. For extensions, and for writing a disk again exactly as it was.
  public mutating func optionalRecord(
    like original: RecordHeader, into out: inout MutableRawSpan
  ) throws(EncodingError) -> Int {
    try require(original.type.isOptional)
    var record = original
    return try seal(&record, in: &out)
  }

  public mutating func endStream(into out: inout MutableRawSpan) throws(EncodingError) -> Int {
    guard let stream = openStream, digestedBytes == stream.rawBytes else {
      throw fail(.outOfOrder)
    }
    let body = Layout.Record.body
    out.zero(from: body, count: Layout.StreamEnd.bodyBytes)
    out.put(rawDigest.value(), at: body + Layout.StreamEnd.digest)
    out.put(stream.rawBytes, at: body + Layout.StreamEnd.rawBytes)
    out.put(stream.chunkCount, at: body + Layout.StreamEnd.chunkCount)
    var record = RecordHeader(type: .streamEnd)
    record.stream = streamCount - 1
    record.storedBytes = UInt32(Layout.StreamEnd.bodyBytes)
    let length = try seal(&record, in: &out)
    openStream = nil
    return length
  }

  /// The commit; nothing can follow. The caller pads the disk with zeros up to a multiple of
  /// 4096, writes, flushes once, and only then says "committed".
  public mutating func commit(into out: inout MutableRawSpan) throws(EncodingError) -> Int {
    try require(openStream == nil && streamCount > 0)
    let body = Layout.Record.body
    out.zero(from: body, count: Layout.Commit.bodyBytes)
    out.put(header.transferID, at: body + Layout.Commit.transferID)
    out.put(headerHash, at: body + Layout.Commit.headerHash)
    out.put(checker.currentLogDigest, at: body + Layout.Commit.logDigest)
    out.put(position - UInt64(Layout.blockBytes), at: body + Layout.Commit.logBytes)
    out.put(recordCount, at: body + Layout.Commit.recordCount)
    out.put(rawBytes, at: body + Layout.Commit.rawBytes)
    out.put(storedBytes, at: body + Layout.Commit.storedBytes)
    out.put(streamCount, at: body + Layout.Commit.streamCount)
    var record = RecordHeader(type: .commit)
    record.storedBytes = UInt32(Layout.Commit.bodyBytes)
    let length = try seal(&record, in: &out)
    isEnded = true
    return length
  }

  /// The record that says that no commit will come. Allowed once, also after a failure; there is
  /// room for it because each record before left room for the commit.
  public mutating func abort(
    _ code: AbortCode, into out: inout MutableRawSpan
  ) throws(EncodingError) -> Int {
    guard !isEnded else { throw .broken }
    isEnded = true
    isBroken = true
    out.zero(from: Layout.Record.body, count: Layout.Abort.bodyBytes)
    out.put(code.rawValue, at: Layout.Record.body + Layout.Abort.code)
    var record = RecordHeader(type: .abort)
    record.sequence = recordCount
    record.storedBytes = UInt32(Layout.Abort.bodyBytes)
    record.encode(into: &out, seed: header.transferSeed)
    return record.recordBytes
  }

  /// Numbers, hashes, checks and counts a record whose body is in place.
  private mutating func seal(
    _ record: inout RecordHeader, in out: inout MutableRawSpan, checksHash: Bool = true
  ) throws(EncodingError) -> Int {
    guard !isBroken && !isEnded else { throw .broken }
    let length = record.recordBytes
    let isCommit = record.type == .commit
    let reserve = isCommit ? 0 : UInt64(Layout.commitRecordBytes)
    guard header.capacityBytes == 0 || position + UInt64(length) + reserve <= header.capacityBytes
    else { throw fail(.noRoom) }
    record.sequence = recordCount
    record.encode(into: &out, seed: header.transferSeed)
    do throws(DiskError) {
      let bytes = out.bytes.extracting(0..<length)
      let framed = try checker.frame(bytes)
      precondition(framed == length)
      _ = try checker.accept(bytes, checksHash: checksHash)
    } catch {
      throw fail(.selfCheck(error))
    }
    recordCount += 1
    position += UInt64(length)
    return length
  }

  private mutating func require(_ condition: Bool) throws(EncodingError) {
    guard condition else { throw fail(.outOfOrder) }
  }

  private mutating func fail(_ error: EncodingError) -> EncodingError {
    if isBroken { return .broken }
    isBroken = true
    return error
  }
}
