import CSystem

extension Syscalls {
  static func packetSockets() throws(SystemError) -> (Int32, Int32) {
    var numbers: [Int32] = [-1, -1]
    _ = try run(.socketpair) { unsafe stubsave_packet_sockets(&numbers) }
    return (numbers[0], numbers[1])
  }

  /// - Returns: the end to read from, which does not block, and the end to write to.
  static func pipe() throws(SystemError) -> (Int32, Int32) {
    var numbers: [Int32] = [-1, -1]
    _ = try run(.pipe) { unsafe stubsave_pipe(&numbers) }
    return (numbers[0], numbers[1])
  }

  /// - Returns: the end to read from, and the end to write to; both block.
  static func blockingPipe() throws(SystemError) -> (Int32, Int32) {
    var numbers: [Int32] = [-1, -1]
    _ = try run(.pipe) { unsafe stubsave_blocking_pipe(&numbers) }
    return (numbers[0], numbers[1])
  }

  /// - Parameter pipe: either end.
  static func setPipeBytes(_ pipe: Int32, _ bytes: UInt64) throws(SystemError) {
    _ = try run(.fcntl) { stubsave_set_pipe_bytes(pipe, Int32(clamping: bytes)) }
  }

  /// - Returns: true in the new process, which is init's and has only those open files.
  static func forkApart(keeping files: [Int32]) throws(SystemError) -> Bool {
    let kept = files.sorted()
    return try run(.spawn) { unsafe stubsave_fork_apart(kept, Int32(kept.count)) } == 0
  }

  /// O_NONBLOCK, O_APPEND and the like, and how it was opened.
  static func fileFlags(_ descriptor: Int32) throws(SystemError) -> Int32 {
    try run(.fcntl) { stubsave_file_flags(descriptor) }
  }

  /// FD_CLOEXEC or 0.
  static func descriptorFlags(_ descriptor: Int32) throws(SystemError) -> Int32 {
    try run(.fcntl) { stubsave_descriptor_flags(descriptor) }
  }

  /// Of an open file that is shared with nobody.
  static func setNonBlocking(_ descriptor: Int32, _ isSet: Bool) throws(SystemError) {
    _ = try run(.fcntl) { stubsave_set_nonblocking(descriptor, isSet ? 1 : 0) }
  }

  /// Without an environment.
  ///
  /// - Parameter files: the program's open files 0, 1 and so on; -1 is none.
  /// - Returns: its process id, which is that of its group.
  static func spawnBare(
    _ path: SystemPath, _ arguments: [SystemPath], files: [Int32]
  ) throws(SystemError) -> Int32 {
    try run(.spawn) {
      unsafe withArguments(arguments) { pointers in
        unsafe withArguments([]) { environment in
          unsafe path.withCString {
            unsafe stubsave_spawn($0, pointers, environment, files, Int32(files.count), 0)
          }
        }
      }
    }
  }

  /// - Parameters:
  ///   - files: the program's open files 0, 1 and so on.
  ///   - isBound: it is told to end when this process has ended.
  ///   - hasSession: it has one of its own, as what is to outlive a terminal; not with `isBound`.
  /// - Returns: its process id, which is that of its group.
  static func spawn(
    _ path: SystemPath, _ arguments: [SystemPath], files: [Int32], isBound: Bool,
    hasSession: Bool = false
  ) throws(SystemError) -> Int32 {
    try run(.spawn) {
      unsafe withArguments(arguments) { pointers in
        unsafe path.withCString {
          isBound
            ? unsafe stubsave_spawn_bound($0, pointers, files, Int32(files.count))
            : unsafe stubsave_spawn(
              $0, pointers, nil, files, Int32(files.count), hasSession ? 1 : 0)
        }
      }
    }
  }

  static func pidfd(_ process: Int32) throws(SystemError) -> Int32 {
    try run(.pidfd) { stubsave_pidfd(process) }
  }

  static func signal(pidfd: Int32, _ signal: Int32) throws(SystemError) {
    _ = try run(.kill) { stubsave_pidfd_signal(pidfd, signal) }
  }

  /// - Returns: the exit code, or 256 and the number of the signal.
  static func reap(_ process: Int32) throws(SystemError) -> Int32 {
    try run(.wait) { stubsave_reap(process) }
  }

  static func limitFiles(of process: Int32, bytes: UInt64) throws(SystemError) {
    _ = try run(.limit) { stubsave_limit_files(process, bytes) }
  }

  static func kill(group: Int32, _ signal: Int32) throws(SystemError) {
    _ = try run(.kill) { stubsave_kill_group(group, signal) }
  }
}
