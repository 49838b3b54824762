import CSystem

/// Waiting for one of several descriptors.
public enum Readable {
  /// What of a descriptor is waited for. That it has failed, or its other side has gone, ends the wait
  /// whatever is asked for.
  public struct Interest: Sendable, BitwiseCopyable {
    let number: Int32
    let events: Int16

    public init(_ number: Int32, toRead: Bool = true, toWrite: Bool = false) {
      self.number = number
      events = Int16((toRead ? POLLIN : 0) | (toWrite ? POLLOUT : 0))
    }
  }

  /// Waits until one is ready, or the time is over. A signal ends the wait, too.
  ///
  /// - Parameter interests: nil is not waited for.
  /// - Returns: whether each of them is ready.
  public static func wait(
    for interests: [Interest?], until deadline: Deadline
  ) throws(SystemError) -> [Bool] {
    var entries = interests.map { interest in
      pollfd(fd: interest?.number ?? -1, events: interest?.events ?? 0, revents: 0)
    }
    try Syscalls.poll(&entries, timeoutMilliseconds: deadline.remainingMilliseconds)
    return entries.map { $0.revents != 0 }
  }
}
