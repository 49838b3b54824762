import CSystem

/// How an open file was opened, and what has been set since (fcntl(2), F_GETFL).
public struct OpenFlags: Sendable, BitwiseCopyable {
  private let bits: Int32

  init(_ bits: Int32) { self.bits = bits }

  /// Opened for its path alone (O_PATH): neither to be read nor written.
  private var isPathAlone: Bool { bits & stubsave_O_PATH != 0 }
  public var canRead: Bool { !isPathAlone && bits & O_ACCMODE != O_WRONLY }
  public var canWrite: Bool { !isPathAlone && bits & O_ACCMODE != O_RDONLY }
  /// What cannot be done at once is an error (EAGAIN).
  public var isNonBlocking: Bool { bits & O_NONBLOCK != 0 }
  /// Past the page cache: every transfer in whole sectors.
  public var isDirect: Bool { bits & stubsave_O_DIRECT != 0 }
}

extension FileDescriptor {
  public func flags() throws(SystemError) -> OpenFlags {
    OpenFlags(try Syscalls.fileFlags(number))
  }

  /// The same file, opened anew for reading only: with an offset and flags that are shared with
  /// nobody. Blocks. Needs /proc, and not every socket can.
  ///
  /// - Parameter isDirect: past the page cache, of a block device.
  public func reopenedForReading(isDirect: Bool) throws(SystemError) -> FileDescriptor {
    let direct = isDirect ? stubsave_O_DIRECT : 0
    // Of a FIFO a writer would be waited for, which may have come and gone.
    let file = FileDescriptor(
      owning: try Syscalls.openat(
        AT_FDCWD, SystemPath(word: "/proc/self/fd/", number: UInt64(number)),
        O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY | direct, mode: 0))
    try Syscalls.setNonBlocking(file.number, false)
    return file
  }

  /// Of a FIFO that was opened with O_NONBLOCK: a reader finds its end there before a writer has
  /// come.
  public func awaitFirstWriter(until deadline: Deadline? = nil) throws(SystemError) -> Bool {
    guard try flags().isNonBlocking, try status().kind == .fifo else { return true }
    return try isReadable(by: deadline)
  }

  /// Waits until a FIFO that was opened for reading has a writer who has written something, or
  /// has gone; from then on it blocks as any other. False if that takes too long.
  public func awaitWriter(until deadline: Deadline?) throws(SystemError) -> Bool {
    guard try isReadable(by: deadline) else { return false }
    try Syscalls.setNonBlocking(number, false)
    return true
  }

  /// Opens a FIFO to write to, which waits until it has a reader; it blocks as any other.
  ///
  /// - Parameter deadline: nil is none.
  /// - Throws: ETIMEDOUT after it.
  public static func openFIFO(
    toWrite path: SystemPath, until deadline: Deadline?
  ) throws(SystemError) -> FileDescriptor {
    guard let deadline else { return try open(path, .writeExisting) }
    while true {
      do throws(SystemError) {
        let file = try open(path, .writeNonBlocking)
        try Syscalls.setNonBlocking(file.number, false)
        return file
      } catch {
        guard error.errno == Errno.noDevice else { throw error }
      }
      // Nothing tells of a reader: who opened it for reading, too, would be one himself.
      let left = deadline.remainingMilliseconds
      if left == 0 { throw SystemError(.open, errno: Errno.timedOut) }
      try MonotonicClock.pause(milliseconds: min(left, 50))
    }
  }

  /// Waits until something can be read, or the end has come; false if that takes too long.
  ///
  /// - Parameter deadline: nil is none.
  public func isReadable(by deadline: Deadline?) throws(SystemError) -> Bool {
    while true {
      let left = deadline?.remainingMilliseconds ?? -1
      if try Syscalls.poll(number, events: Syscalls.readable, -1, timeoutMilliseconds: left).first {
        return true
      }
      if left == 0 { return false }
    }
  }

  /// Whether it is in a file system that the kernel makes up, such as /proc, whose regular files
  /// are no such files.
  public func isKernels() throws(SystemError) -> Bool {
    try Syscalls.run(.fstat) { stubsave_is_kernels(number) } == 1
  }
}
