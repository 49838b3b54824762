import CSystem

/// A process that does not end with this one.
public struct OtherProcess: ~Copyable {
  public let id: Int32
  /// Readable once it has ended.
  private let ended: FileDescriptor

  /// - Throws: ESRCH if there is none.
  public init(_ process: Int32) throws(SystemError) {
    id = process
    ended = FileDescriptor(owning: try Syscalls.pidfd(process))
  }

  /// Starts a program that outlives this one, in a session of its own; standard input and output are empty.
  ///
  /// - Parameters:
  ///   - program: as it is; PATH is not looked at.
  ///   - arguments: argv, the first is its name.
  public static func start(
    _ program: SystemPath, _ arguments: [SystemPath], standardError: Int32
  ) throws(SystemError) -> OtherProcess {
    let nothing = try FileDescriptor.open(SystemPath(word: "/dev/null"), .readWrite)
    return try OtherProcess(
      try Syscalls.spawn(
        program, arguments, files: [nothing.number, nothing.number, standardError], isBound: false,
        hasSession: true))
  }

  /// Readable once it has ended.
  public var number: Int32 { ended.number }

  public func kill() throws(SystemError) { try Syscalls.signal(pidfd: ended.number, SIGKILL) }

  public func terminate() throws(SystemError) { try Syscalls.signal(pidfd: ended.number, SIGTERM) }

  /// - Returns: whether it has ended by then.
  public func wait(until deadline: Deadline) throws(SystemError) -> Bool {
    try UnixSocket.wait(for: number, toWrite: false, until: deadline, signals: nil) == .ready
  }
}
