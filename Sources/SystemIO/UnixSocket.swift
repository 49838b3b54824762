import CSystem

/// A connected socket of the Unix family. Never waits by itself: `wait` does.
public struct UnixSocket: ~Copyable {
  private let descriptor: FileDescriptor

  /// Connects to the server that listens at `path`; EAGAIN if too many wait to be taken already.
  public init(connectingTo path: SystemPath) throws(SystemError) {
    let socket = FileDescriptor(owning: try Syscalls.socket())
    try Syscalls.connect(socket.number, path)
    descriptor = socket
  }

  /// Two sockets that are connected with each other and keep packets apart.
  public static func packetPair() throws(SystemError) -> PacketPair {
    let (ours, theirs) = try Syscalls.packetSockets()
    return PacketPair(
      ours: FileDescriptor(owning: ours), theirs: FileDescriptor(owning: theirs))
  }

  /// Whether an open file is a socket that keeps packets apart (SOCK_SEQPACKET).
  public static func isPacketSocket(_ number: Int32) -> Bool { Syscalls.isPacketSocket(number) }

  /// Takes over a socket that is connected.
  public init(_ descriptor: consuming FileDescriptor) { self.descriptor = descriptor }

  public var number: Int32 { descriptor.number }

  /// Hands the descriptor over.
  public consuming func release() -> FileDescriptor { descriptor }

  public enum Readiness: Sendable {
    /// Readable or writable, as asked; or broken, which the next call tells.
    case ready
    case timedOut
    /// A signal has come in at `signals`.
    case interrupted
  }

  /// Waits until something can be read, or written.
  ///
  /// - Parameter signals: the number of `EndingSignals`; nil waits for none.
  public borrowing func wait(
    toWrite: Bool, until deadline: Deadline, signals: Int32?
  ) throws(SystemError) -> Readiness {
    try UnixSocket.wait(
      for: descriptor.number, toWrite: toWrite, until: deadline, signals: signals)
  }

  /// The same for any descriptor that poll(2) knows, or until another one can be read.
  ///
  /// - Parameter isForReply: the time does not count in which this process did not run (`WaitTime`).
  public static func wait(
    for number: Int32, or other: Int32 = -1, toWrite: Bool, until deadline: Deadline,
    signals: Int32?, isForReply: Bool = false
  ) throws(SystemError) -> Readiness {
    var time = WaitTime(until: deadline, isForReply: isForReply)
    while true {
      let ready = try Syscalls.poll(
        number, events: Int16(toWrite ? POLLOUT : POLLIN), other, signals ?? -1,
        timeoutMilliseconds: time.leftMilliseconds)
      if ready.third { return .interrupted }
      if ready.first || ready.second { return .ready }
      if !time.goOn() { return .timedOut }
    }
  }

  /// Sends what can be sent now.
  ///
  /// - Parameter passed: a descriptor that goes along with the first byte.
  /// - Returns: how many bytes; 0 if none can be sent now.
  public borrowing func send(
    _ bytes: RawSpan, passing passed: Int32?
  ) throws(SystemError) -> Int {
    do throws(SystemError) {
      return try unsafe bytes.withUnsafeBytes { buffer throws(SystemError) in
        try unsafe Syscalls.send(descriptor.number, buffer, passing: passed ?? -1)
      }
    } catch {
      if error.errno == Errno.wouldBlock { return 0 }
      throw error
    }
  }

  /// Nothing more is sent; the other side sees the end after what has been.
  public borrowing func finish() { stubsave_finish_sending(descriptor.number) }

  /// What there is; nil if nothing is there now, 0 at the end.
  public borrowing func receive(
    into buffer: inout MutableRawSpan, from start: Int
  ) throws(SystemError) -> Int? {
    precondition(start >= 0 && start <= buffer.byteCount)
    do throws(SystemError) {
      let number = descriptor.number
      return try unsafe buffer.withUnsafeMutableBytes { bytes throws(SystemError) in
        try unsafe Syscalls.receive(
          number, UnsafeMutableRawBufferPointer(rebasing: bytes[start...]))
      }
    } catch {
      if error.errno == Errno.wouldBlock { return nil }
      throw error
    }
  }
}

/// Both ends of a connection within this process.
public struct PacketPair: ~Copyable {
  public let ours: FileDescriptor
  public let theirs: FileDescriptor

  /// Hands our end over; the other is closed.
  public consuming func takeOurs() -> FileDescriptor { ours }
}
