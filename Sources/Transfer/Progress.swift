import SystemIO

#if !hasFeature(Embedded)

  /// How far a long piece of work has come; tells somebody of it now and then.
  ///
  /// Called by the thread that takes what is gone through: nothing has to wait beside it, neither a
  /// thread nor a timer.
  public final class Progress {
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
    private let tell: (Moment) -> Void
    private let began: UInt64
    private var doneBytes: UInt64 = 0
    private var told: UInt64

    /// - Parameter tell: is called at most once in `intervalNanoseconds`, and at the end.
    public init(
      totalBytes: UInt64?, intervalNanoseconds: UInt64, tell: @escaping (Moment) -> Void
    ) {
      self.totalBytes = totalBytes
      self.intervalNanoseconds = intervalNanoseconds
      self.tell = tell
      began = MonotonicClock.nanoseconds
      told = began
    }

    public func advance(by bytes: Int) { advance(to: doneBytes + UInt64(bytes)) }

    /// - Parameter bytes: since the work began; less than before is not counted.
    public func advance(to bytes: UInt64) {
      doneBytes = max(doneBytes, bytes)
      let now = MonotonicClock.nanoseconds
      if now - told >= intervalNanoseconds {
        told = now
        tell(moment(at: now, isLast: false))
      }
    }

    /// The work is done.
    ///
    /// - Parameter isComplete: all of it has been gone through, also what need not be looked at.
    public func finish(isComplete: Bool = false) {
      if isComplete, let totalBytes { doneBytes = max(doneBytes, totalBytes) }
      tell(moment(at: MonotonicClock.nanoseconds, isLast: true))
    }

    private func moment(at now: UInt64, isLast: Bool) -> Moment {
      Moment(
        doneBytes: doneBytes, totalBytes: totalBytes, nanoseconds: now - began, isLast: isLast)
    }
  }

#else

  /// The stubdomain's agent tells nobody.
  public final class Progress {
    private init() {}

    func advance(by bytes: Int) {}
  }

#endif
