import CSystem

/// Waiting for one of several descriptors.
public enum Readable {
  /// Waits until one can be read, or has failed, or the time is over. A signal ends the wait, too.
  ///
  /// - Parameter numbers: nil is not waited for.
  /// - Returns: whether each of them is ready.
  public static func wait(
    for numbers: [Int32?], until deadline: Deadline
  ) throws(SystemError) -> [Bool] {
    var entries = numbers.map { pollfd(fd: $0 ?? -1, events: Int16(POLLIN), revents: 0) }
    try Syscalls.poll(&entries, timeoutMilliseconds: deadline.remainingMilliseconds)
    return entries.map { $0.revents != 0 }
  }
}
