/// Whether a domain's processors run.
public enum DomainState: Equatable, Sendable {
  case runs
  /// By a toolstack, such as `xl pause`.
  case paused
  /// It has given itself up to be saved, and waits.
  case suspended
  /// It has ended, and is not taken away yet.
  case shutDown

  /// xen/include/public/domctl.h, XEN_DOMINF_*, and sched.h, SHUTDOWN_*.
  private enum Flag {
    static let shutDown: UInt32 = 1 << 2
    static let paused: UInt32 = 1 << 3
    static let reasonShift: UInt32 = 16
    static let reasonMask: UInt32 = 255
    static let suspend: UInt32 = 2
  }

  init(flags: UInt32) {
    if flags & Flag.shutDown != 0 {
      self = flags >> Flag.reasonShift & Flag.reasonMask == Flag.suspend ? .suspended : .shutDown
    } else {
      self = flags & Flag.paused != 0 ? .paused : .runs
    }
  }
}
