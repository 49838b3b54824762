import SystemIO

#if !hasFeature(Embedded)

  /// How far a long piece of work has come; tells somebody of it now and then.
  ///
  /// Called by whoever has done a part of it, so that nothing has to wait beside it: there is no
  /// thread and no timer for it.
  public final class Progress: @unchecked Sendable {
    /// A moment of the work.
    public struct Moment: Sendable {
      public let doneBytes: UInt64
      /// Nil if it is not known how much there is.
      public let totalBytes: UInt64?
      /// Since the work began.
      public let nanoseconds: UInt64
      public let isLast: Bool
    }

    private let totalBytes: UInt64?
    private let intervalNanoseconds: UInt64
    private let tell: @Sendable (Moment) -> Void
    private let began: UInt64
    private let lock = Semaphore(1)
    private var doneBytes: UInt64 = 0
    private var told: UInt64

    /// - Parameter tell: is called at most once in `intervalNanoseconds`, and at the end; by one
    ///   thread at a time.
    public init(
      totalBytes: UInt64?, intervalNanoseconds: UInt64, tell: @escaping @Sendable (Moment) -> Void
    ) {
      self.totalBytes = totalBytes
      self.intervalNanoseconds = intervalNanoseconds
      self.tell = tell
      began = MonotonicClock.nanoseconds
      told = began
    }

    public func advance(by bytes: Int) {
      lock.wait()
      doneBytes += UInt64(bytes)
      let now = MonotonicClock.nanoseconds
      if now - told >= intervalNanoseconds {
        told = now
        tell(moment(at: now, isLast: false))
      }
      lock.post()
    }

    /// The work is done.
    public func finish() {
      lock.wait()
      tell(moment(at: MonotonicClock.nanoseconds, isLast: true))
      lock.post()
    }

    private func moment(at now: UInt64, isLast: Bool) -> Moment {
      Moment(
        doneBytes: doneBytes, totalBytes: totalBytes, nanoseconds: now - began, isLast: isLast)
    }
  }

#else

  /// The stubdomain's agent tells nobody.
  public final class Progress: Sendable {
    private init() {}

    func advance(by bytes: Int) {}
  }

#endif
