import Codecs
import Decoding
import SystemIO
import TestSupport
import ZstdCodec

@testable import SaveDisk
@testable import Transfer

/// A whole disk, through the reader as it is, from a file in memory or from a pipe. A second, plain
/// reading of the same bytes must come to the same verdict: windows and pieces make no difference.
@c(stubsave_fuzz_disk)
public func fuzzDisk(_ bytes: UnsafePointer<UInt8>?, _ count: Int) {
  let input = unsafe Input(bytes, count)
  let how = Circumstances(input.array)
  let plain = PlainReading(input.span, how)
  var sink = CheckingSink()
  let failure = walk(input.span, how, &sink)
  switch failure {
  case .disk(let error):
    check(error, inputBytes: count)
    require(error == plain.failure, "read from a file \(error), plainly \(plain.failure as Any)")
  case nil:
    require(plain.failure == nil, "good, and plainly \(plain.failure as Any)")
    require(sink.isCommitted, "good without a commit")
  default: finding("\(failure as Any)")
  }
  require(sink.rawBytes == plain.rawBytes, "\(sink.rawBytes) bytes, plainly \(plain.rawBytes)")
  require(sink.digest.value() == plain.digest.value(), "other bytes")
  require(sink.rawBytes <= how.options.limits.maxStateBytes, "more than the limit")
}

/// How an input is read. Follows from a field of the header that may have any value.
struct Circumstances {
  var options = ReadOptions()
  /// As dom0 has them.
  let resources = DoorResources.dom0()
  private let wantsPipe: Bool

  init(_ disk: [UInt8]) {
    let choice = disk.count > Layout.Header.targetUUID ? disk[Layout.Header.targetUUID] : 0
    wantsPipe = choice & 3 == 3
    if choice & 0x0C == 0x0C { options.isDecoding = false }
    if choice & 0x30 == 0x30 { options.acceptedCodecs = CodecSet(.lz4) }
    if choice & 0x30 == 0x20 { options.acceptedCodecs = .always }
    if choice & 0x30 < 0x20 {
      options.acceptedCodecs = options.acceptedCodecs.union(CodecSet(.zstd))
    }
    // A state of many megabytes of zeros, in a few records, shows nothing that a shorter one does not.
    // With the shortest limit, one record's claim alone can be over that on the log.
    let limits: [UInt64] = [140_000, 140_000, 1000, 60]
    options.limits = ReaderLimits(maxStateBytes: limits[Int(choice >> 6)])
  }

  /// What does not fit into a pipe at once comes from a file.
  func isPipe(_ count: Int) -> Bool { wantsPipe && count <= 65_536 }
}

private func walk(
  _ bytes: RawSpan, _ how: Circumstances, _ sink: inout CheckingSink
) -> WalkError? {
  do throws(WalkError) {
    if how.isPipe(bytes.byteCount) {
      let pipe = Scratch.pipe(bytes)
      var walk = try DiskWalk(pipe, options: how.options, resources: how.resources)
      try walk.run(&sink)
    } else {
      var walk = try DiskWalk(
        Scratch.file(bytes), options: how.options, resources: how.resources)
      try walk.run(&sink)
    }
    return nil
  } catch {
    return error
  }
}

/// Takes what a walk finds, and holds it against itself.
private struct CheckingSink: LogSink, ~Copyable {
  var digest = DigestStream()
  var rawBytes: UInt64 = 0
  var isCommitted = false
  private var nextOffset = UInt64(Layout.blockBytes)
  private var records: UInt64 = 0
  private var streamBytes: UInt64 = 0

  mutating func streamBegan(_ record: PlacedRecord, name: StreamName, flags: StreamFlags) {
    follow(record)
    streamBytes = 0
  }

  mutating func chunk(_ record: PlacedRecord, raw: RawSpan) {
    follow(record)
    require(raw.isEmpty || raw.byteCount == Int(record.header.rawBytes), "another length")
    digest.update(raw)
    rawBytes += UInt64(record.header.rawBytes)
    streamBytes += UInt64(record.header.rawBytes)
  }

  mutating func optional(_ record: PlacedRecord, body: RawSpan) {
    follow(record)
    require(body.byteCount == Int(record.header.storedBytes), "another length")
  }

  mutating func streamEnded(_ record: PlacedRecord, summary: StreamSummary) {
    follow(record)
    require(summary.rawBytes == streamBytes, "another sum")
  }

  mutating func committed(_ record: PlacedRecord) {
    follow(record)
    isCommitted = true
  }

  private mutating func follow(_ record: PlacedRecord) {
    require(record.offset == nextOffset, "a gap")
    require(record.header.sequence == records, "out of sequence")
    require(!isCommitted, "a record behind the commit")
    nextOffset += UInt64(record.header.recordBytes)
    records += 1
  }
}

/// The verdict rule over bytes that all lie there.
private struct PlainReading: ~Copyable {
  var failure: DiskError?
  var rawBytes: UInt64 = 0
  var digest = DigestStream()

  init(_ disk: RawSpan, _ how: Circumstances) {
    do throws(DiskError) {
      try read(disk, how)
    } catch {
      failure = error
    }
  }

  private mutating func read(_ disk: RawSpan, _ how: Circumstances) throws(DiskError) {
    let parsed = try DiskHeader.parse(disk.extracting(first: Layout.blockBytes))
    let capacity = parsed.header.capacityBytes
    let isArchive = how.isPipe(disk.byteCount) || UInt64(disk.byteCount) != capacity
    // Nothing behind the capacity is looked at, but for whether it is there.
    let log = capacity == 0 ? disk : disk.extracting(first: Int(clamping: capacity))
    var codecs = how.options.acceptedCodecs
    let decoder = ChunkDecoder(added: [.zstd()])
    if how.options.isDecoding { codecs = codecs.intersection(decoder.supported) }
    var checker = LogChecker(
      header: parsed, limits: how.options.limits, acceptedCodecs: codecs,
      isDecoding: how.options.isDecoding)
    while try !step(&checker, log) {}
    let end = Int(checker.diskEnd)
    try checker.finish(
      padding: log.extracting(Int(checker.position)..<min(end, log.byteCount)),
      trailing: isArchive && disk.byteCount > end
        ? TrailingBytes(
          count: how.isPipe(disk.byteCount) ? 0 : UInt64(disk.byteCount - end), isWhole: true)
        : nil)
  }

  private mutating func step(
    _ checker: inout LogChecker, _ log: RawSpan
  ) throws(DiskError) -> Bool {
    let rest = log.extracting(min(Int(checker.position), log.byteCount)..<log.byteCount)
    let length = try checker.frame(rest.extracting(first: Layout.recordHeaderBytes))
    switch try checker.accept(rest.extracting(first: length)) {
    case .commit: return true
    case .chunk(let record):
      try decode(record, rest, &checker)
      rawBytes += UInt64(record.rawBytes)
    default: break
    }
    return false
  }

  private mutating func decode(
    _ record: RecordHeader, _ rest: RawSpan, _ checker: inout LogChecker
  ) throws(DiskError) {
    guard checker.isDecoding else { return }
    var raw = AlignedBuffer(byteCount: Int(record.rawBytes))
    var target = raw.mutableBytes(0..<Int(record.rawBytes))
    let start = Layout.Record.body
    guard
      ChunkDecoder(added: [.zstd()]).decode(
        rest.extracting(start..<(start + Int(record.storedBytes))), codec: record.codec,
        into: &target, rawBytes: Int(record.rawBytes))
    else { throw checker.decodingFailed(record) }
    checker.decoded(raw.bytes(0..<Int(record.rawBytes)))
    digest.update(raw.bytes(0..<Int(record.rawBytes)))
  }
}

extension RawSpan {
  /// At most so many bytes.
  @_lifetime(copy self)
  fileprivate func extracting(first count: Int) -> RawSpan {
    extracting(0..<min(count, byteCount))
  }
}

/// Another structure, a field changed, and hashes made right to some degree.
@c(stubsave_mutate_disk)
public func mutateDisk(
  _ bytes: UnsafeMutablePointer<UInt8>, _ count: Int, _ room: Int, _ seed: UInt32
) -> Int {
  var generator = SeededGenerator(seed: UInt64(seed))
  var disk = unsafe load(bytes, count)
  mutate(disk: &disk, &generator)
  return unsafe store(disk, bytes, room)
}

func mutate(disk: inout [UInt8], _ generator: inout SeededGenerator) {
  if disk.count >= Layout.blockBytes {
    switch generator.next() % 8 {
    case 0, 1: Mutation.rearrange(&disk, &generator)
    case 2, 3, 4:
      let starts = Records(disk).map(\.start)
      if let start = starts.randomElement(using: &generator) {
        Mutation.changeField(of: &disk, FormatField.record, at: start, &generator)
      }
    case 5: Mutation.changeField(of: &disk, FormatField.header, at: 0, &generator)
    default: break
    }
  }
  let degrees: [Mending.Degree] = [.nothing, .hashes, .digests, .digests]
  let choice = Int(generator.next() % 8)
  Mending.disk(&disk, choice < degrees.count ? degrees[choice] : .everything)
}
