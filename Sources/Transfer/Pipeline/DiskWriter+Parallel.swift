import Codecs
import SaveDisk
import SystemIO

// Not in the stubdomain's agent: its states are small, and it has one thread.
#if !hasFeature(Embedded)

  /// What a long stream goes through: this thread takes chunks, hashes them and builds their records
  /// in their order, where they are written from; a second one writes; others make chunks smaller
  /// beside them, where that is wanted.
  struct WritePipeline {
    let source: Int32
    let ring: OutputRing
    /// Nil if there is no thread for it.
    let crew: CodingCrew?
    /// Of `auto` alone: for other settings it is settled.
    let worth: Worth?

    /// So many places may wait for the disk before time is spent on making less of what comes: with
    /// less, the disk would wait for the codec.
    private static let patience = 2

    /// Whether the next chunk is to be made smaller, if it can be.
    var shrinksNext: Bool {
      guard let worth else { return true }
      return ring.backlog >= Self.patience && worth.pays()
    }
  }

  extension DiskWriter where Store: ~Copyable {
    /// A stream of so many bytes is long (README, "Long streams").
    static var longStreamBytes: UInt64 { 4 << 20 }

    /// Whether threads pay for what comes.
    func isLong(_ source: borrowing FileDescriptor) -> Bool {
      guard workers != nil && rawCount == 0 else { return false }
      if rawBytes >= Self.longStreamBytes { return true }
      guard rawBytes == 0, let status = try? source.status() else { return false }
      return status.bytes >= Self.longStreamBytes
    }

    /// The rest of the source through several threads; what does not fill a chunk stays in `raw`.
    ///
    /// - Returns: false, with nothing done, if there are no threads to be had.
    mutating func writeInParallel(
      from source: borrowing FileDescriptor
    ) throws(WriteError) -> Bool {
      guard !isOver && !isBroken, let workers else { return false }
      try writeOut(outCount & ~(Layout.blockBytes - 1))
      let allowed = encoder.header.allowedCodecs
      let codes = workers > 0 && setting.candidate(allowed: allowed) != nil
      let ring = OutputRing(at: outOffset, recordBytes: encoder.maxRecordBytes)
      let crew = CodingCrew(
        setting, allowed: allowed, chunkBytes: raw.byteCount, workers: codes ? workers : 0)
      let worth = setting.adapts ? Worth() : nil
      let number = source.number
      let keeper = keeper
      var failure: WriteError?
      let hasRun = Threads.run(
        codes ? workers + 1 : 1,
        others: { index in
          if index == 0 { Self.drain(ring, to: keeper, worth) } else { crew.work() }
        },
        main: { count in
          var pipeline = WritePipeline(
            source: number, ring: ring, crew: count > 1 ? crew : nil, worth: worth)
          do throws(WriteError) {
            try assemble(&pipeline)
          } catch {
            failure = error
          }
          crew.close()
          ring.close()
        })
      if !hasRun {
        self.workers = nil
        return false
      }
      try settle(ring)
      if let failure { throw failure }
      return true
    }

    /// What the thread does that writes.
    private static func drain(_ ring: OutputRing, to keeper: StoreKeeper<Store>, _ worth: Worth?) {
      ring.drain { bytes, offset in
        let began = MonotonicClock.nanoseconds
        do throws(SystemError) {
          try keeper.store.write(bytes, at: offset)
        } catch {
          return error
        }
        keeper.store.beginFlush(bytes.byteCount, at: offset)
        worth?.wrote(bytes.byteCount, nanoseconds: MonotonicClock.nanoseconds - began)
        return nil
      }
    }

    /// After all threads have ended: writes what they have left, but for what does not fill a block.
    private mutating func settle(_ ring: OutputRing) throws(WriteError) {
      if let error = ring.error {
        isOver = true
        throw .store(error)
      }
      try ring.rest { bytes, offset throws(WriteError) in
        let whole = bytes.byteCount & ~(Layout.blockBytes - 1)
        if whole > 0 {
          do throws(SystemError) {
            try keeper.store.write(bytes.extracting(0..<whole), at: offset)
          } catch {
            isOver = true
            throw .store(error)
          }
        }
        outOffset = offset + UInt64(whole)
        outCount = bytes.byteCount - whole
        var target = out.mutableBytes(0..<outCount)
        target.put(bytes.extracting(whole..<bytes.byteCount), at: 0)
      }
    }
  }

#endif
