import CSystem

extension Syscalls {
  static func socket() throws(SystemError) -> Int32 { try run(.socket) { stubsave_socket() } }

  static func connect(_ socket: Int32, _ path: SystemPath) throws(SystemError) {
    _ = try run(.connect) {
      unsafe path.withCString { unsafe stubsave_connect(socket, $0, path.bytes.count) }
    }
  }

  static func listen(_ socket: Int32, _ path: SystemPath) throws(SystemError) {
    _ = try run(.listen) {
      unsafe path.withCString { unsafe stubsave_listen(socket, $0, path.bytes.count) }
    }
  }

  static func accept(_ socket: Int32) throws(SystemError) -> Int32 {
    try run(.accept) { stubsave_accept(socket) }
  }

  /// - Parameter passed: a descriptor that goes with the first byte; -1 for none.
  static func send(
    _ socket: Int32, _ bytes: UnsafeRawBufferPointer, passing passed: Int32
  ) throws(SystemError) -> Int {
    try run(.send) { unsafe stubsave_send(socket, bytes.baseAddress, bytes.count, passed) }
  }

  /// Never waits: EAGAIN if there is nothing.
  static func receive(
    _ socket: Int32, _ buffer: UnsafeMutableRawBufferPointer
  ) throws(SystemError) -> Int {
    try run(.receive) { unsafe stubsave_receive(socket, buffer.baseAddress, buffer.count) }
  }

  static func isPacketSocket(_ number: Int32) -> Bool { stubsave_is_packet_socket(number) != 0 }

  static func ignoreEndingSignals() { stubsave_ignore_ending_signals() }

  static var readable: Int16 { Int16(POLLIN) }
  static var writable: Int16 { Int16(POLLOUT) }

  /// Waits until one of three descriptors is ready (or has failed), or the time is over. Not
  /// repeated after EINTR, because the time would have to be counted anew.
  ///
  /// - Parameters:
  ///   - second, third: -1 for none; always waited for as readable.
  ///   - timeoutMilliseconds: -1 for none.
  static func poll(
    _ first: Int32, events: Int16, _ second: Int32, _ third: Int32 = -1,
    timeoutMilliseconds: Int32
  ) throws(SystemError) -> (first: Bool, second: Bool, third: Bool) {
    try injectUninterrupted(.poll)
    var descriptors = (
      pollfd(fd: first, events: events, revents: 0),
      pollfd(fd: second, events: Int16(POLLIN), revents: 0),
      pollfd(fd: third, events: Int16(POLLIN), revents: 0)
    )
    let count = unsafe withUnsafeMutableBytes(of: &descriptors) { bytes in
      unsafe CSystem.poll(
        bytes.baseAddress!.assumingMemoryBound(to: pollfd.self), 3, timeoutMilliseconds)
    }
    if count < 0 {
      let code = stubsave_errno()
      if code != EINTR { throw SystemError(.poll, errno: code) }
      return (false, false, false)
    }
    return (
      descriptors.0.revents != 0, descriptors.1.revents != 0, descriptors.2.revents != 0
    )
  }

  /// The same of any number.
  static func poll(_ entries: inout [pollfd], timeoutMilliseconds: Int32) throws(SystemError) {
    try injectUninterrupted(.poll)
    let count = unsafe entries.withUnsafeMutableBufferPointer { buffer in
      unsafe CSystem.poll(buffer.baseAddress, nfds_t(buffer.count), timeoutMilliseconds)
    }
    if count < 0 {
      let code = stubsave_errno()
      if code != EINTR { throw SystemError(.poll, errno: code) }
      for index in entries.indices { entries[index].revents = 0 }
    }
  }

  /// CLOCK_MONOTONIC.
  static func monotonicNanoseconds() -> UInt64 {
    var time = timespec()
    // Cannot fail: the clock is there on every Linux, the address is ours.
    _ = unsafe clock_gettime(CLOCK_MONOTONIC, &time)
    return UInt64(time.tv_sec) * 1_000_000_000 + UInt64(time.tv_nsec)
  }

  static func holdEndingSignals(_ isHeld: Bool) throws(SystemError) {
    _ = try run(.signalMask) { stubsave_hold_ending_signals(isHeld ? 1 : 0) }
  }

  static func endingSignalsDescriptor() throws(SystemError) -> Int32 {
    try run(.signalfd) { stubsave_ending_signals_descriptor() }
  }
}
