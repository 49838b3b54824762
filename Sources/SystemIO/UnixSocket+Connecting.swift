extension UnixSocket {
  /// Connects to a server that may be about to listen, or to let go of the client before.
  public static func connecting(
    to path: SystemPath, until deadline: Deadline
  ) throws(SystemError) -> UnixSocket {
    while true {
      do throws(SystemError) {
        return try UnixSocket(connectingTo: path)
      } catch {
        guard
          error.errno == Errno.noEntry || error.errno == Errno.connectionRefused
            || error.errno == Errno.wouldBlock, !deadline.hasPassed
        else { throw error }
      }
      // Nothing tells that somebody listens.
      try MonotonicClock.pause(milliseconds: 5)
    }
  }
}
