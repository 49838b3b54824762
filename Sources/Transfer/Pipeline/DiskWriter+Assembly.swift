import Codecs
import SaveDisk
import SystemIO

#if !hasFeature(Embedded)

  // What the thread does that has the writer.
  extension DiskWriter where Store: ~Copyable {
    /// Everything that comes, but for a last chunk that is not full.
    mutating func assemble(_ pipeline: inout WritePipeline) throws(WriteError) {
      handOver(to: pipeline.ring)
      var hasMore = true
      while hasMore {
        do throws(WriteError) {
          if pipeline.crew != nil && pipeline.shrinksNext {
            hasMore = try takeForCrew(&pipeline)
          } else {
            try appendFinished(&pipeline)
            hasMore = try takeInPlace(&pipeline)
          }
        } catch {
          // As with one thread: what was taken before is on the disk.
          if !isOver && !isBroken { try appendFinished(&pipeline) }
          if case .overMaxRawBytes = error { isBroken = true }
          throw error
        }
      }
      try appendFinished(&pipeline)
    }

    /// What waits already goes first; it does not fill a block.
    private mutating func handOver(to ring: OutputRing) {
      let count = outCount
      ring.withRoom { $0.put(out.bytes(0..<count), at: 0) }
      ring.advance(by: count)
      outCount = 0
    }

    /// For the longest record.
    private mutating func makeRoom(in ring: OutputRing) throws(WriteError) {
      do throws(SystemError) {
        try ring.makeRoom(encoder.maxRecordBytes)
      } catch {
        isOver = true
        throw .store(error)
      }
    }

    /// A chunk that goes to a thread that makes it smaller.
    private mutating func takeForCrew(_ pipeline: inout WritePipeline) throws(WriteError) -> Bool {
      guard let crew = pipeline.crew else { preconditionFailure() }
      if crew.isFull { try appendFinished(&pipeline, most: 1) }
      let source = pipeline.source
      let isWhole = try crew.next.withRaw { chunk throws(WriteError) in
        let chunkBytes = chunk.byteCount
        var target = chunk.mutableBytes(0..<chunkBytes)
        let count = try take(into: &target, from: source)
        if count < chunkBytes {
          keep(chunk.bytes(0..<count))
          return false
        }
        encoder.digest(chunk.bytes(0..<chunkBytes))
        return true
      }
      if isWhole { crew.give() }
      return isWhole
    }

    /// Those that have been made smaller, or are to be, in their order.
    private mutating func appendFinished(
      _ pipeline: inout WritePipeline, most: Int = .max
    ) throws(WriteError) {
      guard let crew = pipeline.crew else { return }
      var count = 0
      while count < most && !crew.isIdle {
        let job = crew.finished()
        count += 1
        let rawBytes = job.rawBytes
        let coded = job.coded ?? ChunkCodec.Coded(codec: .none, storedBytes: rawBytes)
        if coded.codec != .zeros {
          pipeline.worth?.coded(
            rawBytes, storedBytes: coded.storedBytes, nanoseconds: job.nanoseconds)
        }
        try makeRoom(in: pipeline.ring)
        pipeline.ring.withRoom { job.put(into: &$0, at: Layout.Record.body) }
        try append(coded, to: pipeline.ring)
      }
    }

    /// A chunk that is read to where it is written from, and coded here, if at all.
    private mutating func takeInPlace(_ pipeline: inout WritePipeline) throws(WriteError) -> Bool {
      try makeRoom(in: pipeline.ring)
      let body = Layout.Record.body..<(Layout.Record.body + raw.byteCount)
      let codes = pipeline.crew == nil && pipeline.shrinksNext
      let coded = try pipeline.ring.withRoom { room throws(WriteError) -> ChunkCodec.Coded? in
        var target = room._mutatingExtracting(body)
        let count = try take(into: &target, from: pipeline.source)
        if count < body.count {
          keep(target.bytes.extracting(0..<count))
          return nil
        }
        encoder.digest(target.bytes)
        return code(&target, codes: codes, pipeline.worth)
      }
      guard let coded else { return false }
      try append(coded, to: pipeline.ring)
      return true
    }

    /// In place.
    private mutating func code(
      _ chunk: inout MutableRawSpan, codes: Bool, _ worth: Worth?
    ) -> ChunkCodec.Coded {
      let count = chunk.byteCount
      let stored = ChunkCodec.Coded(codec: .none, storedBytes: count)
      if chunk.bytes.isAllZero { return ChunkCodec.Coded(codec: .zeros, storedBytes: 0) }
      if !codes { return stored }
      let began = MonotonicClock.nanoseconds
      // Empty as long as chunks are taken whole.
      let found = Self.shrink(
        chunk.bytes, coder, allowed: encoder.header.allowedCodecs, into: &raw)
      let coded = found ?? stored
      worth?.coded(
        count, storedBytes: coded.storedBytes, nanoseconds: MonotonicClock.nanoseconds - began)
      if found != nil { chunk.put(raw.bytes(0..<coded.storedBytes), at: 0) }
      return coded
    }

    private static func shrink(
      _ chunk: RawSpan, _ coder: borrowing ChunkCoder, allowed: CodecSet,
      into body: inout AlignedBuffer
    ) -> ChunkCodec.Coded? {
      var target = body.mutableBytes(0..<chunk.byteCount)
      return coder.shrink(chunk, allowed: allowed, into: &target, at: 0)
    }

    /// Fills the target, unless the source ends before.
    private mutating func take(
      into target: inout MutableRawSpan, from source: Int32
    ) throws(WriteError) -> Int {
      var count = 0
      do throws(SystemError) {
        while count < target.byteCount {
          let taken = try FileDescriptor(borrowing: source).read(into: &target, from: count)
          if taken == 0 {
            progress?.advance(by: count)
            return count
          }
          count += taken
        }
      } catch {
        throw .source(error)
      }
      guard rawBytes + UInt64(count) <= maxRawBytes else { throw .overMaxRawBytes(maxRawBytes) }
      rawBytes += UInt64(count)
      progress?.advance(by: count)
      return count
    }

    /// For the end of the stream, as one thread has it there.
    private mutating func keep(_ bytes: RawSpan) {
      rawCount = bytes.byteCount
      var target = raw.mutableBytes(0..<raw.byteCount)
      target.put(bytes, at: 0)
    }

    /// The record of a chunk whose body is in place, or only its length once the disk is full.
    private mutating func append(
      _ coded: ChunkCodec.Coded, to ring: OutputRing
    ) throws(WriteError) {
      let recordBytes = Layout.recordBytes(storedBytes: coded.storedBytes)
      storedBytes += UInt64(coded.storedBytes)
      if let end = wouldEndAt {
        wouldEndAt = end + UInt64(recordBytes)
        return
      }
      let rawBytes = raw.byteCount
      do throws(EncodingError) {
        let length = try ring.withRoom { room throws(EncodingError) in
          try encoder.chunk(
            rawBytes: rawBytes, codec: coded.codec, storedBytes: coded.storedBytes,
            checksHash: false, into: &room)
        }
        ring.advance(by: length)
      } catch {
        try note(error, recordBytes: recordBytes)
      }
    }
  }

#endif
