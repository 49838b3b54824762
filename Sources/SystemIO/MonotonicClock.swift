/// The clock that `Deadline` counts by, for measuring.
public enum MonotonicClock {
  public static var nanoseconds: UInt64 { Syscalls.monotonicNanoseconds() }

  /// Between two looks at something of which no event tells.
  public static func pause(milliseconds: Int32) throws(SystemError) {
    _ = try Syscalls.poll(-1, events: 0, -1, timeoutMilliseconds: milliseconds)
  }
}
