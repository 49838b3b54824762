import Codecs
import SaveDisk
import SystemIO

// Not in the stubdomain's agent: its states are small, and it has one thread.
#if !hasFeature(Embedded)

  /// The records of a long disk, through several threads.
  ///
  /// Each worker fetches a record in turn, into memory of its own, hashes and decodes it beside the
  /// others, and has it judged and handed on in the order of the disk. So the verdict is that of
  /// the first check that fails, as with one thread; some records behind it may have been fetched.
  @safe final class ReadPipeline<Sink: LogSink & ~Copyable>: @unchecked Sendable {
    /// `input` belongs to who has the turn to fetch, `facts` to who has the turn to judge.
    private let walk: UnsafeMutablePointer<DiskWalk>
    private let checker: UnsafeMutablePointer<LogChecker>
    private let sink: UnsafeMutablePointer<Sink>
    private let options: ReadOptions
    private let resources: DoorResources
    private let header: DiskHeader
    /// What may reach a decoder.
    private let decodable: CodecSet

    // Whose turn it is to fetch.
    private let fetching = Semaphore(1)
    private var nextTicket = 0
    private var isAtEnd = false

    private let judging: Turns
    private(set) var error: WalkError?
    /// The commit has come, or an error: what may have been fetched behind it does not count.
    private var isOver = false

    /// A record in a worker's hands.
    private struct Fetched {
      let ticket: Int
      /// What there is of it.
      let byteCount: Int
      let error: SystemError?
    }

    /// What a worker finds out by itself.
    private enum Decoded {
      case none
      /// The body is the raw bytes.
      case asStored(Range<Int>)
      case raw(count: Int)
      case failed
    }

    init(
      _ walk: UnsafeMutablePointer<DiskWalk>, _ checker: UnsafeMutablePointer<LogChecker>,
      _ sink: UnsafeMutablePointer<Sink>, workers: Int
    ) {
      unsafe self.walk = unsafe walk
      unsafe self.checker = unsafe checker
      unsafe self.sink = unsafe sink
      options = unsafe walk.pointee.options
      resources = unsafe walk.pointee.resources
      header = unsafe checker.pointee.header
      decodable = unsafe walk.pointee.acceptedCodecs.union(.always).intersection(
        checker.pointee.header.allowedCodecs)
      judging = Turns(holders: workers)
    }

    /// What a worker does until the disk's end.
    func work() {
      let chunkBytes = Int(header.chunkBytes)
      var record = AlignedBuffer(byteCount: Layout.recordBytes(storedBytes: chunkBytes))
      var raw = AlignedBuffer(byteCount: chunkBytes)
      var decoder = resources.decoder()
      while let fetched = fetch(into: &record) {
        let bytes = record.bytes(0..<fetched.byteCount)
        let hashFits = RecordHeader.hashFits(bytes, seed: header.transferSeed)
        let decoded = hashFits ? decode(bytes, into: &raw, &decoder) : .none
        judging.wait(for: fetched.ticket)
        if !isOver { judge(fetched, bytes, hashFits, decoded, raw) }
        judging.pass(after: fetched.ticket)
        resources.progress?.advance(by: fetched.byteCount)
      }
    }

    /// The next record, or what there is of it, in turn.
    private func fetch(into record: inout AlignedBuffer) -> Fetched? {
      fetching.wait()
      defer { fetching.post() }
      if isAtEnd { return nil }
      let ticket = nextTicket
      nextTicket += 1
      do throws(SystemError) {
        var count = try unsafe walk.pointee.input.fetch(Layout.recordHeaderBytes)
        // What does not look like a record with another one behind it is judged before more comes.
        isAtEnd = true
        if count == Layout.recordHeaderBytes, let length = wholeLength(count) {
          count = try unsafe walk.pointee.input.fetch(length)
          if count < length { isAtEnd = true }
        }
        var target = record.mutableBytes(0..<record.byteCount)
        unsafe target.put(walk.pointee.input.bytes(count), at: 0)
        unsafe walk.pointee.input.consume(count)
        return Fetched(ticket: ticket, byteCount: count, error: nil)
      } catch {
        isAtEnd = true
        return Fetched(ticket: ticket, byteCount: 0, error: error)
      }
    }

    /// The length of the record that begins what has been fetched, if it can be one; and whether
    /// another one may follow.
    private func wholeLength(_ count: Int) -> Int? {
      var cursor = unsafe ByteCursor(walk.pointee.input.bytes(count))
      let record = RecordHeader(parsing: &cursor)
      guard record.storedBytes <= header.chunkBytes else { return nil }
      isAtEnd = record.type == .commit || record.type == .abort || record.type.number == 0
      return record.recordBytes
    }

    /// A body that has passed its hash. What else may be wrong with the record is found in turn;
    /// here counts only that no decoder gets what it must not get.
    private func decode(
      _ bytes: RawSpan, into raw: inout AlignedBuffer, _ decoder: inout ChunkDecoder
    ) -> Decoded {
      var cursor = ByteCursor(bytes)
      let record = RecordHeader(parsing: &cursor)
      guard options.isDecoding, record.type == .chunk, decodable.contains(record.codec),
        record.rawBytes >= 1, record.rawBytes <= header.chunkBytes, record.hasPossibleStoredBytes
      else { return .none }
      let body = Layout.Record.body..<(Layout.Record.body + Int(record.storedBytes))
      if record.codec == .none { return .asStored(body) }
      let count = Int(record.rawBytes)
      var target = raw.mutableBytes(0..<count)
      let isRight = decoder.decode(
        bytes.extracting(body), codec: record.codec, into: &target, rawBytes: count)
      return isRight ? .raw(count: count) : .failed
    }

    /// In turn.
    private func judge(
      _ fetched: Fetched, _ bytes: RawSpan, _ hashFits: Bool, _ decoded: Decoded,
      _ raw: borrowing AlignedBuffer
    ) {
      do throws(WalkError) {
        if let error = fetched.error { throw .input(error) }
        let start = unsafe checker.pointee.position
        let event: LogEvent
        do throws(DiskError) {
          let length = try unsafe checker.pointee.frame(bytes)
          event = try unsafe checker.pointee.accept(
            bytes.extracting(0..<min(length, bytes.byteCount)), hashFits: hashFits)
        } catch {
          throw .disk(error)
        }
        unsafe walk.pointee.facts.count(checker.pointee)
        if case .chunk(let record) = event {
          try take(PlacedRecord(offset: start, header: record), bytes, decoded, raw)
        } else {
          do throws(SystemError) {
            try unsafe DiskWalk.handOn(
              event, bytes, at: start, &walk.pointee.facts, &sink.pointee)
          } catch {
            throw .output(error)
          }
        }
        if case .commit = event { isOver = true }
      } catch {
        self.error = error
        isOver = true
        fetching.wait()
        isAtEnd = true
        fetching.post()
      }
    }

    private func take(
      _ record: PlacedRecord, _ bytes: RawSpan, _ decoded: Decoded,
      _ raw: borrowing AlignedBuffer
    ) throws(WalkError) {
      switch decoded {
      case .none:
        precondition(!options.isDecoding, "a chunk that has passed all checks is decoded")
        try unsafe DiskWalk.give(record, bytes.extracting(0..<0), &sink.pointee)
      case .asStored(let body):
        unsafe checker.pointee.decoded(bytes.extracting(body))
        try unsafe DiskWalk.give(record, bytes.extracting(body), &sink.pointee)
      case .raw(let count):
        unsafe checker.pointee.decoded(raw.bytes(0..<count))
        try unsafe DiskWalk.give(record, raw.bytes(0..<count), &sink.pointee)
      case .failed: throw .disk(unsafe checker.pointee.decodingFailed(record.header))
      }
    }
  }

  extension DiskWalk {
    /// More raw bytes than that: threads pay (see `DiskWriter.longStreamBytes`).
    static var longStreamBytes: UInt64 { 4 << 20 }

    func isLong(_ checker: borrowing LogChecker) -> Bool {
      resources.workers > 1 && checker.rawBytes >= Self.longStreamBytes
    }

    /// All records from here to the commit.
    ///
    /// - Returns: false, with nothing done, if there are no threads to be had.
    mutating func runInParallel<Sink: LogSink & ~Copyable>(
      _ checker: inout LogChecker, _ sink: inout Sink
    ) throws(WalkError) -> Bool {
      let workers = resources.workers
      let (hasRun, error) = unsafe withUnsafeMutablePointer(to: &self) { walk in
        unsafe withUnsafeMutablePointer(to: &checker) { checker in
          unsafe withUnsafeMutablePointer(to: &sink) { sink -> (Bool, WalkError?) in
            let pipeline = unsafe ReadPipeline(walk, checker, sink, workers: workers)
            let hasRun = Threads.run(
              workers - 1, others: { _ in pipeline.work() }, main: { pipeline.work() })
            return (hasRun, pipeline.error)
          }
        }
      }
      if let error { throw error }
      if !hasRun { resources.workers = 0 }
      return hasRun
    }
  }

#endif
