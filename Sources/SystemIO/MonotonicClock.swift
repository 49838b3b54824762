/// The clock that `Deadline` counts by, for measuring.
public enum MonotonicClock {
  public static var nanoseconds: UInt64 { Syscalls.monotonicNanoseconds() }
}
