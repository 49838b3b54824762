import Codecs
import SaveDisk
import ZstdCodec

/// Makes hashes right again, and what follows from other fields, so that the checks behind them
/// decide (formats/save-disk.md, sections 3 to 5).
enum Mending {
  /// How much is made right.
  enum Degree: UInt64 {
    case nothing
    /// Header and record hashes.
    case hashes
    /// And of the commit its digest, length and the header's hash.
    case digests
    /// And sequence numbers, streams, ids, stream ends, all of the commit.
    case everything
  }

  static func header(_ disk: inout [UInt8]) {
    guard disk.count >= Layout.blockBytes else { return }
    put(Layout.magic, &disk, Layout.Header.magic)
    put(digest(disk, 0..<Layout.Header.hash), &disk, Layout.Header.hash)
  }

  static func disk(_ disk: inout [UInt8], _ degree: Degree) {
    guard degree != .nothing, disk.count >= Layout.blockBytes else { return }
    header(&disk)
    var sums = Sums(transferID: bytes16(disk, Layout.Header.transferID))
    for (index, record) in Records(disk).enumerated() {
      sums.recordCount = UInt64(index)
      if degree == .everything { sums.mend(record, &disk) }
      if degree != .hashes && record.type == .commit { sums.mendDigests(record, &disk) }
      let seed = sums.transferID.first ^ sums.transferID.last
      let hash = unsafe Hash.record(
        disk.span.bytes.extracting((record.start + Layout.Record.hashed)..<record.bodyEnd),
        seed: seed)
      put(hash.byteSwapped, &disk, record.start + Layout.Record.hash)
    }
  }

  // MARK: Fields

  static func digest(_ bytes: [UInt8], _ range: Range<Int>) -> Bytes16 {
    unsafe Hash.digest(bytes.span.bytes.extracting(range))
  }

  static func word32(_ bytes: [UInt8], _ offset: Int) -> UInt32 {
    UInt32(truncatingIfNeeded: word(bytes, offset, 4))
  }

  static func word(_ bytes: [UInt8], _ offset: Int, _ size: Int) -> UInt64 {
    (0..<size).reduce(0) { $0 | UInt64(bytes[offset + $1]) << UInt64(8 * $1) }
  }

  static func bytes16(_ bytes: [UInt8], _ offset: Int) -> Bytes16 {
    Bytes16(first: word(bytes, offset, 8), last: word(bytes, offset + 8, 8))
  }

  static func put(_ value: UInt64, size: Int = 8, _ bytes: inout [UInt8], _ offset: Int) {
    for index in 0..<size {
      bytes[offset + index] = UInt8(truncatingIfNeeded: value >> UInt64(8 * index))
    }
  }

  static func put(_ value: Bytes16, _ bytes: inout [UInt8], _ offset: Int) {
    put(value.first, &bytes, offset)
    put(value.last, &bytes, offset + 8)
  }
}

/// What a commit and the ends of streams have to repeat.
private struct Sums {
  let transferID: Bytes16
  var recordCount: UInt64 = 0
  private var streams: UInt64 = 0
  private var streamRaw: UInt64 = 0
  private var streamChunks: UInt64 = 0
  private var raw: UInt64 = 0
  private var stored: UInt64 = 0
  private var content = DigestBytes()

  init(transferID: Bytes16) { self.transferID = transferID }

  mutating func mend(_ record: Records.Place, _ disk: inout [UInt8]) {
    Mending.put(recordCount, &disk, record.start + Layout.Record.sequence)
    let body = record.start + Layout.Record.body
    switch record.type {
    case .streamBegin where record.storedBytes == Layout.StreamBegin.bodyBytes:
      Mending.put(streams, size: 4, &disk, record.start + Layout.Record.stream)
      Mending.put(transferID, &disk, body + Layout.StreamBegin.transferID)
      streams += 1
      streamRaw = 0
      streamChunks = 0
      content = DigestBytes()
    case .chunk:
      Mending.put(streams &- 1, size: 4, &disk, record.start + Layout.Record.stream)
      let rawBytes = Mending.word32(disk, record.start + Layout.Record.rawBytes)
      raw += UInt64(rawBytes)
      streamRaw += UInt64(rawBytes)
      stored += UInt64(record.storedBytes)
      streamChunks += 1
      content.add(disk, record, rawBytes: Int(rawBytes))
    case .streamEnd where record.storedBytes == Layout.StreamEnd.bodyBytes:
      Mending.put(streams &- 1, size: 4, &disk, record.start + Layout.Record.stream)
      Mending.put(content.value, &disk, body + Layout.StreamEnd.digest)
      Mending.put(streamRaw, &disk, body + Layout.StreamEnd.rawBytes)
      Mending.put(streamChunks, &disk, body + Layout.StreamEnd.chunkCount)
    case .commit where record.storedBytes == Layout.Commit.bodyBytes:
      Mending.put(transferID, &disk, body + Layout.Commit.transferID)
      Mending.put(recordCount, &disk, body + Layout.Commit.recordCount)
      Mending.put(raw, &disk, body + Layout.Commit.rawBytes)
      Mending.put(stored, &disk, body + Layout.Commit.storedBytes)
      Mending.put(streams, size: 4, &disk, body + Layout.Commit.streamCount)
    default: break
    }
  }

  func mendDigests(_ record: Records.Place, _ disk: inout [UInt8]) {
    guard record.storedBytes == Layout.Commit.bodyBytes else { return }
    let body = record.start + Layout.Record.body
    Mending.put(
      Mending.bytes16(disk, Layout.Header.hash), &disk, body + Layout.Commit.headerHash)
    Mending.put(
      Mending.digest(disk, Layout.blockBytes..<record.start), &disk,
      body + Layout.Commit.logDigest)
    Mending.put(
      UInt64(record.start - Layout.blockBytes), &disk, body + Layout.Commit.logBytes)
  }
}

/// The raw bytes of a stream, as far as they decode.
private struct DigestBytes {
  private var bytes: [UInt8] = []
  /// More is over the limit of the targets.
  private let maxBytes = 140_000

  var value: Bytes16 { Mending.digest(bytes, 0..<bytes.count) }

  mutating func add(_ disk: [UInt8], _ record: Records.Place, rawBytes: Int) {
    guard rawBytes >= 1 && bytes.count + rawBytes <= maxBytes else { return }
    let codec = Codec(number: Mending.word32(disk, record.start + Layout.Record.codec))
    var raw = [UInt8](repeating: 0, count: rawBytes)
    var span = raw.mutableSpan
    var target = unsafe span.mutableBytes
    let body = unsafe disk.span.bytes.extracting(
      (record.start + Layout.Record.body)..<record.bodyEnd)
    if ChunkDecoder(added: [.zstd()]).decode(body, codec: codec, into: &target, rawBytes: rawBytes)
    {
      bytes += raw
    }
  }
}

/// Where the records of a log are, as far as their lengths hold together.
struct Records: Sequence, IteratorProtocol {
  struct Place {
    let start: Int
    let type: RecordType
    let storedBytes: Int

    var bodyEnd: Int { start + Layout.Record.body + storedBytes }
    var end: Int { start + Layout.recordBytes(storedBytes: storedBytes) }
  }

  private let disk: [UInt8]
  private var position = Layout.blockBytes

  init(_ disk: [UInt8]) { self.disk = disk }

  mutating func next() -> Place? {
    guard position + Layout.recordHeaderBytes <= disk.count else { return nil }
    let stored = Mending.word32(disk, position + Layout.Record.storedBytes)
    guard stored <= FormatLimits.maxChunkBytes else { return nil }
    let type = RecordType(number: Mending.word32(disk, position + Layout.Record.type))
    let place = Place(start: position, type: type, storedBytes: Int(stored))
    guard place.end <= disk.count, type.number != 0 || stored != 0 else { return nil }
    position = place.end
    return place
  }
}
