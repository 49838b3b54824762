import SaveDisk
import TestSupport
import Testing

// Invariants:
// - an encoder that has failed refuses every later call, but one abort;
// - nothing is appended that would not leave room for the commit;
// - streams are opened and closed in order, and a commit is only made of finished ones;
// - what does not pass the reader's own checks is not given out.

@Suite struct LogEncoderTests {
  /// An encoder, whose records go nowhere.
  struct Bench: ~Copyable {
    var encoder: LogEncoder

    init(_ header: DiskHeader = testHeader()) {
      encoder = LogEncoder(header: DiskHeader.Parsed(new: header))
    }

    mutating func call(
      _ body: (inout LogEncoder, inout MutableRawSpan) throws(EncodingError) -> Int
    ) throws(EncodingError) -> Int {
      var out = [UInt8](repeating: 0, count: 70_000)
      var span = out.mutableSpan
      var bytes = unsafe span.mutableBytes
      return try body(&encoder, &bytes)
    }

    mutating func begin(
      _ name: StreamName = .qemu, flags: StreamFlags = .none
    ) throws(EncodingError) -> Int {
      try call { encoder, out throws(EncodingError) in
        try encoder.beginStream(name, flags: flags, into: &out)
      }
    }

    mutating func chunk(_ raw: [UInt8]) throws(EncodingError) -> Int {
      try call { encoder, out throws(EncodingError) in
        out.put(raw.rawSpan, at: Layout.Record.body)
        return try encoder.chunk(
          raw: raw.rawSpan, codec: .none, storedBytes: raw.count, into: &out)
      }
    }

    mutating func end() throws(EncodingError) -> Int {
      try call { encoder, out throws(EncodingError) in try encoder.endStream(into: &out) }
    }

    mutating func commit() throws(EncodingError) -> Int {
      try call { encoder, out throws(EncodingError) in try encoder.commit(into: &out) }
    }

    mutating func abort() throws(EncodingError) -> Int {
      try call { encoder, out throws(EncodingError) in
        try encoder.abort(.otherFailure, into: &out)
      }
    }

    /// The error of a call, nil if there is none.
    mutating func failure(_ body: (inout Bench) throws -> Int) -> EncodingError? {
      do {
        _ = try body(&self)
        return nil
      } catch {
        return error as? EncodingError
      }
    }
  }

  @Test func `records have their lengths`() throws {
    var bench = Bench()
    #expect(bench.encoder.maxRecordBytes == 65_536 + 64)
    let lengths = [
      try bench.begin(), try bench.chunk([1, 2, 3]), try bench.end(), try bench.commit(),
    ]
    #expect(lengths == [128, 128, 128, 192])
    #expect(bench.encoder.position == 4096 + 576)
  }

  @Test func `after a failure everything is refused but one abort`() throws {
    var bench = Bench()
    #expect(bench.failure { try $0.chunk([1]) } == .outOfOrder)
    #expect(bench.failure { try $0.begin() } == .broken)
    #expect(bench.failure { try $0.end() } == .broken)
    #expect(bench.failure { try $0.commit() } == .broken)
    #expect(try bench.abort() == 128)
    #expect(bench.failure { try $0.abort() } == .broken)
  }

  @Test func `after a commit nothing follows`() throws {
    var bench = Bench()
    _ = try bench.begin()
    _ = try bench.end()
    _ = try bench.commit()
    #expect(bench.failure { try $0.begin() } == .broken)
    #expect(bench.failure { try $0.abort() } == .broken)
  }

  @Test func `streams do not overlap, and a commit wants finished ones`() throws {
    var overlapping = Bench()
    _ = try overlapping.begin()
    #expect(overlapping.failure { try $0.begin(.metadata) } == .outOfOrder)
    var open = Bench()
    _ = try open.begin()
    #expect(open.failure { try $0.commit() } == .outOfOrder)
    var empty = Bench()
    #expect(empty.failure { try $0.commit() } == .outOfOrder)
    var closed = Bench()
    #expect(closed.failure { try $0.end() } == .outOfOrder)
  }

  @Test func `no more streams than the header allows`() throws {
    var header = testHeader()
    header.maxStreams = 1
    var bench = Bench(header)
    _ = try bench.begin()
    _ = try bench.end()
    #expect(bench.failure { try $0.begin(.metadata) } == .outOfOrder)
  }

  @Test func `no more raw bytes than the header allows`() throws {
    var header = testHeader()
    header.maxRawBytes = 4
    var bench = Bench(header)
    _ = try bench.begin()
    #expect(bench.failure { try $0.chunk([1, 2, 3, 4, 5]) } == .overMaxRawBytes(4))
    #expect(bench.failure { try $0.end() } == .broken)
  }

  @Test func `room for the commit is kept`() throws {
    // One block of log: begin 128, end 128 and commit 192 leave 3648 bytes, one chunk of 3584.
    var fits = Bench(testHeader(capacityBytes: 8192))
    _ = try fits.begin()
    _ = try fits.chunk([UInt8](repeating: 7, count: 3584))
    _ = try fits.end()
    #expect(try fits.commit() == 192)
    #expect(fits.encoder.position == 8192)
    var full = Bench(testHeader(capacityBytes: 8192))
    _ = try full.begin()
    _ = try full.chunk([UInt8](repeating: 7, count: 3584 + 64))
    #expect(full.failure { try $0.end() } == .noRoom)
    #expect(try full.abort() == 128)
  }

  @Test func `flags that have no meaning are not given out, and one that has is`() throws {
    var bench = Bench()
    _ = try bench.begin(StreamName("tpm"), flags: .mustUnderstand)
    _ = try bench.end()
    guard
      case .selfCheck(let error)? = bench.failure({ try $0.begin(flags: StreamFlags(bits: 2)) })
    else {
      Issue.record("an unknown flag was given out")
      return
    }
    #expect(error.structure == .streamBegin && error.field == .flags)
  }

  @Test func `what the reader would refuse is not given out`() throws {
    var twice = Bench()
    _ = try twice.begin()
    _ = try twice.end()
    guard case .selfCheck(let error)? = twice.failure({ try $0.begin() }) else {
      Issue.record("a second stream of the same name was given out")
      return
    }
    #expect(error.structure == .streamBegin && error.field == .name)

    var short = Bench()
    _ = try short.begin()
    _ = try short.chunk([1])
    guard case .selfCheck(let error)? = short.failure({ try $0.chunk([2]) }) else {
      Issue.record("a chunk after a short one was given out")
      return
    }
    #expect(error.structure == .record && error.field == .type)
  }

  @Test func `optional records are optional`() throws {
    var bench = Bench()
    let mandatory = bench.failure { bench in
      try bench.call { encoder, out throws(EncodingError) in
        try encoder.optionalRecord(like: RecordHeader(type: .chunk), into: &out)
      }
    }
    #expect(mandatory == .outOfOrder)
  }
}
