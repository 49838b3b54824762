import SaveDisk
import SystemIO

#if !hasFeature(Embedded)

  extension DiskWriter where Store: ~Copyable {
    /// A stream of so many bytes is long: below, threads cost more than they save (a state of
    /// 100 KiB takes 0.25 ms with one thread and 0.55 ms with several).
    static var longStreamBytes: UInt64 { 4 << 20 }

    /// Whether threads pay for what comes.
    var isLong: Bool { workers > 0 && rawBytes >= Self.longStreamBytes && rawCount == 0 }

    /// The rest of the source through several threads; what does not fill a chunk stays in `raw`.
    ///
    /// - Returns: false, with nothing done, if there are no threads to be had.
    mutating func writeInParallel(
      from source: borrowing FileDescriptor
    ) throws(WriteError) -> Bool {
      guard !isOver && !isBroken, let sealer = try? encoder.chunkSealer() else { return false }
      let number = source.number
      let count = workers
      let pipeline = unsafe withUnsafeMutablePointer(to: &self) { writer in
        let pipeline = unsafe WritePipeline(writer, source: number, sealer: sealer, workers: count)
        let hasRun = Threads.run(
          count, others: { _ in pipeline.work() }, main: { pipeline.write() })
        if hasRun { pipeline.settle() }
        return hasRun ? pipeline : nil
      }
      guard let pipeline else {
        workers = 0
        return false
      }
      if let error = pipeline.storeError {
        isOver = true
        throw .store(error)
      }
      if let error = pipeline.appendError { throw error }
      if let error = pipeline.sourceError {
        if case .overMaxRawBytes = error { isBroken = true }
        throw error
      }
      return true
    }

    /// One record that a worker has built, or only its length once the disk is full.
    mutating func append(
      _ raw: RawSpan, sealed record: RawSpan, to ring: OutputRing
    ) throws(WriteError) {
      var cursor = ByteCursor(record)
      rawBytes += UInt64(raw.byteCount)
      storedBytes += UInt64(RecordHeader(parsing: &cursor).storedBytes)
      if let end = wouldEndAt {
        wouldEndAt = end + UInt64(record.byteCount)
        return
      }
      do throws(EncodingError) {
        try encoder.chunk(raw: raw, sealed: record)
      } catch {
        return try note(error, recordBytes: record.byteCount)
      }
      do throws(SystemError) { try ring.append(record) } catch { throw .store(error) }
    }

    /// What the pipeline has not written: it belongs at `offset`.
    mutating func takeOver(_ bytes: RawSpan, at offset: UInt64) {
      // As the writer's own `makeRoom`: whole blocks out, the rest waits.
      outOffset = offset
      outCount = bytes.byteCount
      if out.byteCount < Layout.aligned(outCount, to: Layout.blockBytes) {
        out = AlignedBuffer(
          byteCount: Layout.aligned(outCount, to: Layout.blockBytes) + outRoomBytes)
      }
      var target = out.mutableBytes(0..<out.byteCount)
      target.put(bytes, at: 0)
    }

    private var outRoomBytes: Int {
      Layout.aligned(2 * encoder.maxRecordBytes, to: Layout.blockBytes) + 2 * Layout.blockBytes
    }
  }

#endif
