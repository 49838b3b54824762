/// How long a wait lasts: to its deadline, and for a moment more if this process did not run meanwhile.
///
/// It may have been stopped, or its whole domain paused, for which Xen's clock does not stand (`xl pause`; Qubes
/// OS pauses stubdomains): what it waits for may then be about to come, and nobody is late.
struct WaitTime {
  private static let graceMilliseconds: Int32 = 2_000
  private static let lateNanoseconds: UInt64 = 1_000_000_000

  private let deadline: Deadline
  /// Once: whoever keeps stopping the process does not keep it waiting.
  private var hasGrace: Bool
  private var start = MonotonicClock.nanoseconds
  /// For poll(2).
  private(set) var leftMilliseconds: Int32

  /// - Parameter isForReply: what is waited for comes from somebody who has not been late; not so of a wait that
  ///   is a pause.
  init(until deadline: Deadline, isForReply: Bool) {
    self.deadline = deadline
    hasGrace = isForReply
    leftMilliseconds = deadline.remainingMilliseconds
  }

  /// After a poll(2) that took at most what was left, and found nothing.
  ///
  /// - Returns: false if the time is over.
  mutating func goOn() -> Bool {
    if leftMilliseconds == 0 { return false }
    let now = MonotonicClock.nanoseconds
    let wanted = UInt64(max(leftMilliseconds, 0)) * 1_000_000
    if hasGrace && now - start > wanted + WaitTime.lateNanoseconds {
      hasGrace = false
      leftMilliseconds = max(deadline.remainingMilliseconds, WaitTime.graceMilliseconds)
    } else {
      leftMilliseconds = deadline.remainingMilliseconds
    }
    start = now
    return true
  }
}
