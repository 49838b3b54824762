/// A moment after which nothing is waited for any more, by the monotonic clock: it stands still
/// neither for a change of the date nor for anything that the other side does.
public struct Deadline: Sendable, BitwiseCopyable, Comparable {
  private let nanoseconds: UInt64

  /// - Parameter timeoutMilliseconds: from now on.
  public init(timeoutMilliseconds: UInt64) {
    let now = Syscalls.monotonicNanoseconds()
    let (span, overflow) = timeoutMilliseconds.multipliedReportingOverflow(by: 1_000_000)
    let (sum, overflowToo) = now.addingReportingOverflow(span)
    nanoseconds = overflow || overflowToo ? .max : sum
  }

  /// Milliseconds that are left, rounded up, fit for poll(2); 0 if it has passed.
  public var remainingMilliseconds: Int32 {
    let now = Syscalls.monotonicNanoseconds()
    guard nanoseconds > now else { return 0 }
    return Int32(clamping: (nanoseconds - now - 1) / 1_000_000 + 1)
  }

  public static func < (left: Deadline, right: Deadline) -> Bool {
    left.nanoseconds < right.nanoseconds
  }

  public var hasPassed: Bool { remainingMilliseconds == 0 }
}
