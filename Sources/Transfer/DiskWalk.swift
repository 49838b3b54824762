import Codecs
import SaveDisk
import SystemIO

/// Why a walk ended before the end of a good disk.
public enum WalkError: Error, Equatable, Sendable, BitwiseCopyable {
  case disk(DiskError)
  /// Reading the input failed.
  case input(SystemError)
  /// The sink could not take what it was given.
  case output(SystemError)
}

/// One pass over a save disk: fetch, check, decode, hand to the sink, in this order for each
/// record.
public struct DiskWalk: ~Copyable {
  private let options: ReadOptions
  private let knownStreams: KnownStreams
  private let decoder: ChunkDecoder
  private let advanced: ((Int) -> Void)?
  private var input: DiskInput
  private var raw: AlignedBuffer?
  /// What has been learnt so far; also valid after an error.
  public private(set) var facts = DiskFacts()

  /// - Parameter shape: what the disk lies in, if that is known already.
  public init(
    _ input: borrowing FileDescriptor, shape: InputShape? = nil, options: ReadOptions,
    resources: DoorResources = DoorResources(), knowing knownStreams: KnownStreams = .ours
  ) throws(WalkError) {
    do throws(SystemError) {
      self.init(
        try DiskInput(input, shape), options: options, resources: resources, knowing: knownStreams)
    } catch {
      throw .input(error)
    }
  }

  /// - Parameter input: nothing of it has been consumed.
  init(
    _ input: consuming DiskInput, options: ReadOptions,
    resources: DoorResources = DoorResources(), knowing knownStreams: KnownStreams = .ours
  ) {
    self.options = options
    self.knownStreams = knownStreams
    decoder = ChunkDecoder(added: resources.added)
    advanced = resources.advanced
    facts.inputBytes = input.totalBytes
    self.input = input
  }

  /// Walks to the end of the disk. Returns only if the disk is good; to be called once.
  public mutating func run<Sink: LogSink & ~Copyable>(_ sink: inout Sink) throws(WalkError) {
    let header = try readHeader()
    var checker = LogChecker(
      header: header, limits: options.limits, acceptedCodecs: acceptedCodecs,
      knownStreams: knownStreams, isDecoding: options.isDecoding)
    while try !step(&checker, &sink) {}
    try finish(&checker)
  }

  /// Nothing can be decoded that there is no decoder for; a walk that does not decode may pass it.
  private var acceptedCodecs: CodecSet {
    options.isDecoding
      ? options.acceptedCodecs.intersection(decoder.supported) : options.acceptedCodecs
  }

  private mutating func readHeader() throws(WalkError) -> DiskHeader.Parsed {
    let count = try fetch(Layout.blockBytes)
    let header: DiskHeader.Parsed
    do throws(DiskError) {
      header = try DiskHeader.parse(input.bytes(count))
    } catch {
      throw .disk(error)
    }
    facts.header = header
    input.consume(count)
    advanced?(count)
    input.expectRecords(of: header.header)
    return header
  }

  private mutating func fetch(_ count: Int) throws(WalkError) -> Int {
    do throws(SystemError) { return try input.fetch(count) } catch { throw .input(error) }
  }

  /// One record. True if it was the commit.
  private mutating func step<Sink: LogSink & ~Copyable>(
    _ checker: inout LogChecker, _ sink: inout Sink
  ) throws(WalkError) -> Bool {
    let start = checker.position
    let headerCount = try fetch(Layout.recordHeaderBytes)
    let length: Int
    do throws(DiskError) {
      length = try checker.frame(input.bytes(headerCount))
    } catch {
      throw .disk(error)
    }
    let count = try fetch(length)
    let event: LogEvent
    do throws(DiskError) {
      event = try checker.accept(input.bytes(count))
    } catch {
      throw .disk(error)
    }
    facts.recordCount = checker.recordCount
    facts.rawBytes = checker.rawBytes
    facts.storedBytes = checker.storedBytes
    try handle(event, at: start, &checker, &sink)
    input.consume(length)
    advanced?(length)
    if case .commit = event { return true }
    return false
  }

  private mutating func handle<Sink: LogSink & ~Copyable>(
    _ event: LogEvent, at offset: UInt64, _ checker: inout LogChecker, _ sink: inout Sink
  ) throws(WalkError) {
    switch event {
    case .chunk(let record): try decode(record, at: offset, &checker, &sink)
    default:
      do throws(SystemError) {
        try handOn(event, at: offset, &sink)
      } catch {
        throw .output(error)
      }
    }
  }

  private mutating func decode<Sink: LogSink & ~Copyable>(
    _ record: RecordHeader, at offset: UInt64, _ checker: inout LogChecker, _ sink: inout Sink
  ) throws(WalkError) {
    let placed = PlacedRecord(offset: offset, header: record)
    let body = Layout.Record.body..<(Layout.Record.body + Int(record.storedBytes))
    let rawBytes = Int(record.rawBytes)
    if !options.isDecoding {
      try give(placed, input.bytes(0), &sink)
      return
    }
    if record.codec == .none {  // As it lies there; checked against rawBytes already (D4).
      checker.decoded(input.bytes(body.upperBound).extracting(body))
      try give(placed, input.bytes(body.upperBound).extracting(body), &sink)
      return
    }
    var buffer = raw.take() ?? AlignedBuffer(byteCount: Int(checker.header.chunkBytes))
    var target = buffer.mutableBytes(0..<rawBytes)
    guard
      decoder.decode(
        input.bytes(body.upperBound).extracting(body), codec: record.codec, into: &target,
        rawBytes: rawBytes)
    else { throw .disk(checker.decodingFailed(record)) }
    checker.decoded(buffer.bytes(0..<rawBytes))
    try give(placed, buffer.bytes(0..<rawBytes), &sink)
    raw = consume buffer
  }

  private func give<Sink: LogSink & ~Copyable>(
    _ record: PlacedRecord, _ raw: RawSpan, _ sink: inout Sink
  ) throws(WalkError) {
    #if STUBSAVE_PLANTED_BUG
      PlantedBug.strike(raw)
    #endif
    do throws(SystemError) { try sink.chunk(record, raw: raw) } catch { throw .output(error) }
  }

  /// Everything but chunks.
  private mutating func handOn<Sink: LogSink & ~Copyable>(
    _ event: LogEvent, at offset: UInt64, _ sink: inout Sink
  ) throws(SystemError) {
    var cursor = ByteCursor(input.bytes(Layout.recordHeaderBytes))
    let placed = PlacedRecord(offset: offset, header: RecordHeader(parsing: &cursor))
    switch event {
    case .chunk: return
    case .optional(let record):
      facts.optionalRecords += 1
      let body = Layout.Record.body..<(Layout.Record.body + Int(record.storedBytes))
      try sink.optional(placed, body: input.bytes(body.upperBound).extracting(body))
    case .streamBegin(_, let name, let flags):
      facts.startedStreams += 1
      try sink.streamBegan(placed, name: name, flags: flags)
    case .streamEnd(let summary):
      facts.add(summary)
      try sink.streamEnded(placed, summary: summary)
    case .commit: try sink.committed(placed)
    }
  }

  /// The padding of the last block, and what an archive may not have behind it.
  private mutating func finish(_ checker: inout LogChecker) throws(WalkError) {
    let padding = try fetch(Int(checker.diskEnd - checker.position))
    let capacity = checker.header.capacityBytes
    // The padding comes first among the checks, so it must be judged before more is fetched.
    let isShort = checker.position + UInt64(padding) < checker.diskEnd
    var trailing: TrailingBytes?
    if !isShort && input.bytes(padding).isAllZero {
      do throws(SystemError) {
        trailing = try input.trailingBytes(
          after: padding, diskEnd: checker.diskEnd, capacityBytes: capacity)
      } catch {
        throw .input(error)
      }
    }
    do throws(DiskError) {
      try checker.finish(padding: input.bytes(padding), trailing: trailing)
    } catch {
      throw .disk(error)
    }
    facts.diskBytes = checker.diskEnd
    advanced?(padding)
  }
}
