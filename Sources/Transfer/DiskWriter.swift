import Codecs
import SaveDisk
import SystemIO

/// Writes a save disk: streams of unknown length in bounded memory, records appended in large
/// pieces, **one** flush (formats/save-disk.md, section 9).
///
/// A disk that turns out to be too small is not given up at once: the rest of the state is coded
/// and counted, so that the error says how large the disk must be. An abort record then ends the
/// log.
public struct DiskWriter<Store: DiskStore & ~Copyable>: ~Copyable {
  public var store: Store { _read { yield keeper.store } }
  let keeper: StoreKeeper<Store>
  var encoder: LogEncoder
  let setting: CodecSetting
  let coder: ChunkCoder
  /// Threads that make chunks of a long stream smaller, beside this one and one that writes; nil
  /// leaves it with this one.
  var workers: Int?
  let progress: Progress?
  /// Most raw bytes of all streams together.
  let maxRawBytes: UInt64
  /// Raw bytes that do not fill a chunk yet.
  var raw: AlignedBuffer
  var rawCount = 0
  /// Bytes of the disk that are not in the store yet; they belong at `outOffset`.
  var out: AlignedBuffer
  var outCount = 0
  var outOffset: UInt64
  var rawBytes: UInt64 = 0
  var storedBytes: UInt64 = 0
  /// Committed, aborted, or the store has failed.
  var isOver = false
  /// Failed; only an abort record may follow.
  var isBroken = false
  /// Once the disk is full: where the log would end. Nothing is appended any more.
  var wouldEndAt: UInt64?

  /// - Parameters:
  ///   - store: for `writesHeader` empty; else one whose block 0 is this header and whose log is
  ///     empty.
  ///   - writesHeader: the disk is made in one go, header and all, as an archive is.
  ///   - maxStateBytes: a limit on the raw bytes beside the header's.
  ///   - workers: threads that code a stream that is long, beside one that writes; nil: it gets none.
  ///   - progress: is told of the raw bytes that have been taken.
  public init(
    header: DiskHeader.Parsed, store: consuming Store, setting: CodecSetting, writesHeader: Bool,
    maxStateBytes: UInt64 = .max, workers: Int? = nil, progress: Progress? = nil
  ) {
    keeper = StoreKeeper(store)
    self.setting = setting
    self.workers = workers
    self.progress = progress
    coder = ChunkCoder(setting)
    let stated = header.header.maxRawBytes
    maxRawBytes = min(stated == 0 ? .max : stated, maxStateBytes)
    encoder = LogEncoder(header: header)
    raw = AlignedBuffer(byteCount: Int(header.header.chunkBytes))
    // A record is built behind what waits: two of the largest, and two blocks of slack.
    let outBytes = 2 * encoder.maxRecordBytes + 2 * Layout.blockBytes
    out = AlignedBuffer(byteCount: Layout.aligned(outBytes, to: Layout.blockBytes))
    outOffset = writesHeader ? 0 : UInt64(Layout.blockBytes)
    if writesHeader {
      var block = out.mutableBytes(0..<Layout.blockBytes)
      let hash = header.header.encode(into: &block)
      precondition(hash == header.hash, "not the header of this hash")
      outCount = Layout.blockBytes
    }
  }

  public mutating func beginStream(
    _ name: StreamName, flags: StreamFlags = .none
  ) throws(WriteError) {
    try append(recordBytes: Layout.recordBytes(storedBytes: Layout.StreamBegin.bodyBytes)) {
      encoder, out throws(EncodingError) in
      try encoder.beginStream(name, flags: flags, into: &out)
    }
  }

  /// More raw bytes of the open stream.
  public mutating func write(_ bytes: RawSpan) throws(WriteError) {
    var done = 0
    while done < bytes.byteCount {
      let start = rawCount
      let count = min(raw.byteCount - start, bytes.byteCount - done)
      var target = raw.mutableBytes(start..<(start + count))
      target.put(bytes.extracting(done..<(done + count)), at: 0)
      rawCount += count
      done += count
      if rawCount == raw.byteCount { try writeChunk() }
    }
  }

  /// Everything from the source to its end, as more raw bytes of the open stream.
  public mutating func write(from source: borrowing FileDescriptor) throws(WriteError) {
    while true {
      #if !hasFeature(Embedded)
        if isLong(source), try writeInParallel(from: source) { return }
      #endif
      let count: Int
      do throws(SystemError) {
        let start = rawCount
        var target = raw.mutableBytes(0..<raw.byteCount)
        count = try source.read(into: &target, from: start)
      } catch {
        throw .source(error)
      }
      if count == 0 { return }
      rawCount += count
      progress?.advance(by: count)
      if rawCount == raw.byteCount { try writeChunk() }
    }
  }

  public mutating func endStream() throws(WriteError) {
    if rawCount > 0 { try writeChunk() }
    try append(recordBytes: Layout.recordBytes(storedBytes: Layout.StreamEnd.bodyBytes)) {
      encoder, out throws(EncodingError) in try encoder.endStream(into: &out)
    }
  }

  /// A copy of an optional record of another disk. Ends the chunk that is being filled.
  public mutating func optionalRecord(
    like record: RecordHeader, body: RawSpan
  ) throws(WriteError) {
    if rawCount > 0 { try writeChunk() }
    try append(recordBytes: record.recordBytes) { encoder, out throws(EncodingError) in
      out.put(body, at: Layout.Record.body)
      return try encoder.optionalRecord(like: record, into: &out)
    }
  }

  /// Appends the commit, writes everything and flushes. The disk is complete when this returns.
  public mutating func commit() throws(WriteError) -> WrittenDisk {
    if let end = wouldEndAt {
      let needed = Layout.aligned(
        end + UInt64(Layout.commitRecordBytes), to: Layout.blockBytes)
      try abort(.overCapacity)
      throw .diskTooSmall(capacityBytes: encoder.header.capacityBytes, neededBytes: needed)
    }
    try append(recordBytes: Layout.commitRecordBytes) { encoder, out throws(EncodingError) in
      try encoder.commit(into: &out)
    }
    try finish()
    return WrittenDisk(diskBytes: outOffset, rawBytes: rawBytes, storedBytes: storedBytes)
  }

  /// Ends the log with an abort record, and flushes. Allowed once, also after a failure, but not
  /// after one of the store.
  public mutating func abort(_ code: AbortCode) throws(WriteError) {
    guard !isOver else { throw .refused(.broken) }
    try makeRoom()
    do throws(EncodingError) {
      outCount += try Self.build(&encoder, &out, at: outCount) {
        encoder, out throws(EncodingError) in try encoder.abort(code, into: &out)
      }
    } catch {
      throw .refused(error)
    }
    try finish()
  }

  private mutating func writeChunk() throws(WriteError) {
    guard !isOver && !isBroken else { throw .refused(.broken) }
    let count = rawCount
    rawCount = 0
    guard rawBytes + UInt64(count) <= maxRawBytes else {
      isBroken = true
      throw .overMaxRawBytes(maxRawBytes)
    }
    try makeRoom()
    let coded = Self.code(
      raw, count, coder, allowed: encoder.header.allowedCodecs, into: &out,
      at: outCount + Layout.Record.body)
    rawBytes += UInt64(count)
    storedBytes += UInt64(coded.storedBytes)
    try append(
      recordBytes: Layout.recordBytes(storedBytes: coded.storedBytes), chunk: (coded, count))
  }
}
