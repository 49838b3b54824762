import Codecs
import SaveDisk
import SystemIO

// Not in the stubdomain's agent: its states are small, and it has one thread.
#if !hasFeature(Embedded)

  /// Full chunks of one stream on their way to the disk, through several threads.
  ///
  /// Each worker takes a chunk from the source in turn, codes and hashes it beside the others, and
  /// appends its record in the order in which the chunks were taken: so the disk is byte for byte
  /// what one thread would write, but for what `auto` does not try. The thread that has the writer
  /// writes. Memory is two buffers a worker and the ring, whatever the stream's length.
  @safe final class WritePipeline<Store: DiskStore & ~Copyable>: @unchecked Sendable {
    /// `raw` and `rawCount` belong to who has the turn to read, `store` to the thread that writes,
    /// all else to who has the turn to append.
    private let writer: UnsafeMutablePointer<DiskWriter<Store>>
    private let source: Int32
    private let sealer: ChunkSealer
    private let setting: CodecSetting
    private let allowed: CodecSet
    private let chunkBytes: Int
    private let progress: Progress?
    private let ring: OutputRing
    /// Of `auto` alone: for the others it is settled.
    private let worth: Worth?

    // Whose turn it is to read.
    private let reading = Semaphore(1)
    private var nextTicket = 0
    private var isAtEnd = false
    private var isStopped = false
    private var takenBytes: UInt64
    private let maxRawBytes: UInt64
    /// Of the source, or of too much coming from there.
    private(set) var sourceError: WriteError?

    private let appending: Turns
    private(set) var appendError: WriteError?

    /// So much may wait for the disk before time is spent on making less of it.
    ///
    /// With less the disk would wait for the codec; `auto` then stores a chunk as it is.
    private static var patience: Int { 2 }

    init(
      _ writer: UnsafeMutablePointer<DiskWriter<Store>>, source: Int32, sealer: ChunkSealer,
      workers: Int
    ) {
      unsafe self.writer = unsafe writer
      self.source = source
      self.sealer = sealer
      setting = unsafe writer.pointee.setting
      allowed = unsafe writer.pointee.encoder.header.allowedCodecs
      chunkBytes = unsafe writer.pointee.raw.byteCount
      progress = unsafe writer.pointee.progress
      takenBytes = unsafe writer.pointee.rawBytes
      maxRawBytes = unsafe writer.pointee.maxRawBytes
      ring = unsafe OutputRing(at: writer.pointee.outOffset)
      appending = Turns(holders: workers)
      worth = unsafe writer.pointee.setting.adapts ? Worth(workers: workers) : nil
      // What waits already goes first. It is less than the ring holds.
      try? unsafe ring.append(writer.pointee.out.bytes(0..<writer.pointee.outCount))
    }

    /// What a worker does until nothing more comes.
    func work() {
      var raw = AlignedBuffer(byteCount: chunkBytes)
      var record = AlignedBuffer(byteCount: Layout.recordBytes(storedBytes: chunkBytes))
      let coder = ChunkCoder(setting)
      while let (ticket, isFull) = take(into: &raw) {
        let length = isFull ? build(raw, into: &record, coder, index: ticket) : nil
        appending.wait(for: ticket)
        if let length { append(raw, record.bytes(0..<length)) } else { ring.close() }
        appending.pass(after: ticket)
        if isFull { progress?.advance(by: chunkBytes) }
      }
    }

    /// The next chunk, in turn; the last one is not full, and its bytes stay with the writer.
    private func take(into raw: inout AlignedBuffer) -> (ticket: Int, isFull: Bool)? {
      reading.wait()
      defer { reading.post() }
      if isAtEnd { return nil }
      let ticket = nextTicket
      nextTicket += 1
      if !isStopped && fill(&raw) { return (ticket, true) }
      isAtEnd = true
      return (ticket, false)
    }

    private func fill(_ raw: inout AlignedBuffer) -> Bool {
      var count = 0
      var target = raw.mutableBytes(0..<chunkBytes)
      do throws(SystemError) {
        while count < chunkBytes {
          let taken = try FileDescriptor(borrowing: source).read(into: &target, from: count)
          if taken == 0 { break }
          count += taken
        }
      } catch {
        sourceError = .source(error)
      }
      if count < chunkBytes {
        keep(target.bytes.extracting(0..<count))
        return false
      }
      guard takenBytes + UInt64(chunkBytes) <= maxRawBytes else {
        sourceError = .overMaxRawBytes(maxRawBytes)
        return false
      }
      takenBytes += UInt64(chunkBytes)
      return true
    }

    private func keep(_ bytes: RawSpan) {
      unsafe writer.pointee.rawCount = bytes.byteCount
      var target = unsafe writer.pointee.raw.mutableBytes(0..<chunkBytes)
      target.put(bytes, at: 0)
    }

    /// - Returns: the record's length.
    private func build(
      _ raw: borrowing AlignedBuffer, into record: inout AlignedBuffer,
      _ coder: borrowing ChunkCoder, index: Int
    ) -> Int {
      let isHurried = worth.map { ring.backlog < Self.patience || !$0.pays() } ?? false
      let began = MonotonicClock.nanoseconds
      var out = record.mutableBytes(0..<record.byteCount)
      let coded = coder.encode(
        raw.bytes(0..<chunkBytes), allowed: allowed, isHurried: isHurried, into: &out,
        at: Layout.Record.body)
      if !isHurried && coded.codec != .zeros {
        worth?.coded(
          chunkBytes, storedBytes: coded.storedBytes,
          nanoseconds: MonotonicClock.nanoseconds - began)
      }
      return sealer.seal(
        index: index, rawBytes: chunkBytes, codec: coded.codec, storedBytes: coded.storedBytes,
        in: &out)
    }

    /// In turn.
    private func append(_ raw: borrowing AlignedBuffer, _ record: RawSpan) {
      if appendError != nil { return }
      do throws(WriteError) {
        try unsafe writer.pointee.append(raw.bytes(0..<chunkBytes), sealed: record, to: ring)
      } catch {
        appendError = error
        reading.wait()
        isStopped = true
        reading.post()
      }
    }

    /// Writes, on the calling thread, while the others work.
    func write() {
      let error = ring.drain { bytes, offset in
        do throws(SystemError) {
          let began = MonotonicClock.nanoseconds
          try unsafe writer.pointee.store.write(bytes, at: offset)
          unsafe writer.pointee.store.beginFlush(bytes.byteCount, at: offset)
          worth?.wrote(bytes.byteCount, nanoseconds: MonotonicClock.nanoseconds - began)
          return nil
        } catch {
          return error
        }
      }
      if let error { storeError = error }
    }

    private(set) var storeError: SystemError?

    /// After all threads have ended: gives the writer what has not been written.
    func settle() {
      ring.rest { bytes, offset in
        unsafe writer.pointee.takeOver(bytes, at: offset)
      }
    }
  }

#endif
