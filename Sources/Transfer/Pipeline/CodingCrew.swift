import Codecs
import SaveDisk
import SystemIO

#if !hasFeature(Embedded)

  /// Threads that make chunks smaller, beside the one that takes and appends them.
  ///
  /// A chunk belongs to one thread at a time; the semaphores hand it over.
  final class CodingCrew: @unchecked Sendable {
    /// A chunk on its way.
    final class Job {
      private var raw: AlignedBuffer
      private var body: AlignedBuffer
      /// Nil: it is to be stored as it is.
      var coded: ChunkCodec.Coded?
      var nanoseconds: UInt64 = 0
      fileprivate let done = Semaphore()

      fileprivate init(chunkBytes: Int) {
        raw = AlignedBuffer(byteCount: chunkBytes)
        body = AlignedBuffer(byteCount: chunkBytes)
      }

      var rawBytes: Int { raw.byteCount }

      func withRaw<R, E: Error>(_ fill: (inout AlignedBuffer) throws(E) -> R) throws(E) -> R {
        try fill(&raw)
      }

      /// Puts what is to be stored at `offset`.
      func put(into room: inout MutableRawSpan, at offset: Int) {
        if let coded {
          Self.put(body, coded.storedBytes, into: &room, at: offset)
        } else {
          Self.put(raw, raw.byteCount, into: &room, at: offset)
        }
      }

      private static func put(
        _ bytes: borrowing AlignedBuffer, _ count: Int, into room: inout MutableRawSpan,
        at offset: Int
      ) {
        room.put(bytes.bytes(0..<count), at: offset)
      }

      fileprivate func code(_ coder: borrowing ChunkCoder, _ allowed: CodecSet) {
        let began = MonotonicClock.nanoseconds
        coded = Self.shrink(raw, coder, allowed, into: &body)
        nanoseconds = MonotonicClock.nanoseconds - began
      }

      private static func shrink(
        _ raw: borrowing AlignedBuffer, _ coder: borrowing ChunkCoder, _ allowed: CodecSet,
        into body: inout AlignedBuffer
      ) -> ChunkCodec.Coded? {
        let count = raw.byteCount
        var target = body.mutableBytes(0..<count)
        return coder.shrink(raw.bytes(0..<count), allowed: allowed, into: &target, at: 0)
      }
    }

    private let setting: CodecSetting
    private let allowed: CodecSet
    private let jobs: [Job]
    private let workers: Int
    private let given = Semaphore()
    private let lock = Semaphore(1)
    // Under the lock.
    private var givenCount = 0
    private var takenCount = 0
    // Of the thread that gives.
    private var finishedCount = 0

    /// - Parameter workers: threads that will call `work`.
    init(_ setting: CodecSetting, allowed: CodecSet, chunkBytes: Int, workers: Int) {
      self.setting = setting
      self.allowed = allowed
      self.workers = workers
      // One more is being filled, and one waits for whoever is done first.
      jobs = (0..<(workers + 2)).map { _ in Job(chunkBytes: chunkBytes) }
    }

    var isIdle: Bool { finishedCount == givenCount }
    var isFull: Bool { givenCount - finishedCount == jobs.count }

    /// The next to be filled, while it is not full; then `give` it.
    var next: Job { jobs[givenCount % jobs.count] }

    func give() {
      lock.wait()
      givenCount += 1
      lock.post()
      given.post()
    }

    /// Waits for the one that has been given first, while it is not idle; it is the caller's until
    /// the next is filled.
    func finished() -> Job {
      let job = jobs[finishedCount % jobs.count]
      job.done.wait()
      finishedCount += 1
      return job
    }

    /// What each thread does until `close`.
    func work() {
      let coder = ChunkCoder(setting)
      while true {
        given.wait()
        lock.wait()
        let index = takenCount
        let isOver = index == givenCount
        if !isOver { takenCount += 1 }
        lock.post()
        if isOver { return }
        jobs[index % jobs.count].code(coder, allowed)
        jobs[index % jobs.count].done.post()
      }
    }

    /// Nothing more is given.
    func close() { for _ in 0..<workers { given.post() } }
  }

#endif
