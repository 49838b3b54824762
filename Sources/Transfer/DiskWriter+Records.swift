import Codecs
import SaveDisk
import SystemIO

extension DiskWriter where Store: ~Copyable {
  /// After `error`: says on the disk that no commit will come, if that can still be said.
  public mutating func abandon(after error: WriteError) {
    let code: AbortCode
    switch error {
    case .store: return
    case .source: code = .sourceFailed
    case .overMaxRawBytes: code = .overMaxRawBytes
    case .diskTooSmall: return  // Has been said.
    case .refused: code = .otherFailure
    }
    // A disk without an abort record is incomplete all the same.
    try? abort(code)
  }

  typealias Build = (inout LogEncoder, inout MutableRawSpan) throws(EncodingError) -> Int

  /// Appends one record, or only counts it once the disk is full.
  mutating func append(recordBytes: Int, _ build: Build) throws(WriteError) {
    guard !isOver && !isBroken else { throw .refused(.broken) }
    if let end = wouldEndAt {
      wouldEndAt = end + UInt64(recordBytes)
      return
    }
    try makeRoom()
    do throws(EncodingError) {
      outCount += try Self.build(&encoder, &out, at: outCount, build)
    } catch {
      try note(error, recordBytes: recordBytes)
    }
  }

  /// The same for a chunk whose body has been coded to where it belongs.
  mutating func append(
    recordBytes: Int, chunk: (coded: ChunkCodec.Coded, rawBytes: Int)
  ) throws(WriteError) {
    guard !isOver && !isBroken else { throw .refused(.broken) }
    if let end = wouldEndAt {
      wouldEndAt = end + UInt64(recordBytes)
      return
    }
    do throws(EncodingError) {
      outCount += try Self.build(&encoder, &out, at: outCount, raw, chunk.rawBytes, chunk.coded)
    } catch {
      try note(error, recordBytes: recordBytes)
    }
  }

  /// Goes on counting if there is no more room; every other error is final.
  mutating func note(
    _ error: EncodingError, recordBytes: Int
  ) throws(WriteError) {
    switch error {
    case .noRoom: wouldEndAt = encoder.position + UInt64(recordBytes)
    default:
      isBroken = true
      throw .refused(error)
    }
  }

  static func build(
    _ encoder: inout LogEncoder, _ out: inout AlignedBuffer, at start: Int, _ build: Build
  ) throws(EncodingError) -> Int {
    var target = out.mutableBytes(start..<out.byteCount)
    return try build(&encoder, &target)
  }

  private static func build(
    _ encoder: inout LogEncoder, _ out: inout AlignedBuffer, at start: Int,
    _ raw: borrowing AlignedBuffer, _ rawBytes: Int, _ coded: ChunkCodec.Coded
  ) throws(EncodingError) -> Int {
    var target = out.mutableBytes(start..<out.byteCount)
    return try encoder.chunk(
      raw: raw.bytes(0..<rawBytes), codec: coded.codec, storedBytes: coded.storedBytes,
      into: &target)
  }

  static func code(
    _ raw: borrowing AlignedBuffer, _ rawBytes: Int, _ coder: borrowing ChunkCoder,
    allowed: CodecSet, into out: inout AlignedBuffer, at start: Int
  ) -> ChunkCodec.Coded {
    var target = out.mutableBytes(start..<out.byteCount)
    return coder.encode(raw.bytes(0..<rawBytes), allowed: allowed, into: &target, at: 0)
  }

  /// Writes what waits, in whole blocks, unless any record still fits behind it.
  mutating func makeRoom() throws(WriteError) {
    if out.byteCount - outCount >= encoder.maxRecordBytes + Layout.blockBytes { return }
    try writeOut(outCount & ~(Layout.blockBytes - 1))
  }

  /// Pads the last block, writes the rest and flushes; the writer is done.
  mutating func finish() throws(WriteError) {
    let end = Layout.aligned(outCount, to: Layout.blockBytes)
    var padding = out.mutableBytes(outCount..<end)
    padding.zero(from: 0, count: padding.byteCount)
    try writeOut(end)
    isOver = true
    do throws(SystemError) { try keeper.store.flush() } catch { throw .store(error) }
  }

  /// Hands the first `count` waiting bytes to the store.
  mutating func writeOut(_ count: Int) throws(WriteError) {
    do throws(SystemError) {
      try Self.write(out, count, to: &keeper.store, at: outOffset)
    } catch {
      isOver = true
      throw .store(error)
    }
    out.moveToFront(count..<max(outCount, count))
    outCount = max(outCount - count, 0)
    outOffset += UInt64(count)
  }

  private static func write(
    _ out: borrowing AlignedBuffer, _ count: Int, to store: inout Store, at offset: UInt64
  ) throws(SystemError) {
    try store.write(out.bytes(0..<count), at: offset)
  }
}
