import CSystem

/// A program that has nothing but the open files that it is given: no environment, no arguments,
/// and no way to this process but a pipe. Killed and reaped when this goes away.
public struct IsolatedProcess: ~Copyable {
  private let process: Int32
  /// Readable once it has ended.
  private let ended: FileDescriptor
  /// What it writes to the last of its open files.
  private let words: FileDescriptor
  private var end: ChildEnd?

  /// For the end after SIGKILL: a process stays in a system call on a device that does not answer.
  private static let killMilliseconds: UInt64 = 10_000

  /// - Parameters:
  ///   - program: as it is; PATH is not looked at.
  ///   - name: its only argument.
  ///   - files: its open files 0, 1 and so on, -1 is none.
  ///   - request: what it can read from the open file after those; at most a page, which a pipe
  ///     takes at once. It writes to the open file after that.
  public static func start(
    _ program: SystemPath, name: SystemPath, files: [Int32], request: RawSpan
  ) throws(SystemError) -> IsolatedProcess {
    let (asked, asking) = try Syscalls.blockingPipe()
    let theirRequest = FileDescriptor(owning: asked)
    do {
      let writer = FileDescriptor(owning: asking)
      try writer.writeAll(request)
    }
    let (reading, writing) = try Syscalls.blockingPipe()
    let words = FileDescriptor(owning: reading)
    let theirWords = FileDescriptor(owning: writing)
    let process = try Syscalls.spawnBare(
      program, [name], files: files + [theirRequest.number, theirWords.number])
    do throws(SystemError) {
      let ended = FileDescriptor(owning: try Syscalls.pidfd(process))
      return IsolatedProcess(process: process, ended: ended, words: words, end: nil)
    } catch {
      try? Syscalls.kill(group: process, SIGKILL)
      throw error
    }
  }

  private init(
    process: Int32, ended: consuming FileDescriptor, words: consuming FileDescriptor,
    end: ChildEnd?
  ) {
    self.process = process
    self.ended = ended
    self.words = words
    self.end = end
  }

  /// Waits for a message of fixed size.
  ///
  /// - Returns: fewer bytes if it has ended, or closed its pipe, before it has said so much.
  public borrowing func message(byteCount: Int) throws(SystemError) -> [UInt8] {
    var buffer = AlignedBuffer(byteCount: byteCount)
    var count = 0
    while count < byteCount {
      var target = buffer.mutableBytes(0..<byteCount)
      let fetched = try words.read(into: &target, from: count)
      if fetched == 0 { break }
      count += fetched
    }
    return buffer.array(0..<count)
  }

  /// Waits for the end of a process that has no more to say; kills it if it still runs.
  ///
  /// - Parameter kills: at once.
  public mutating func finish(kills: Bool) throws(SystemError) -> ChildEnd {
    if let end { return end }
    // One that has closed its pipe is about to end, or has been told to lie still.
    var isOver = false
    if !kills { isOver = try hasEnded(by: Deadline(timeoutMilliseconds: 1_000)) }
    if !isOver { try? Syscalls.kill(group: process, SIGKILL) }
    guard try hasEnded(by: Deadline(timeoutMilliseconds: Self.killMilliseconds)) else {
      throw SystemError(.wait, errno: Errno.timedOut)
    }
    let status = try reap(by: Deadline(timeoutMilliseconds: Self.killMilliseconds))
    let end = status < 256 ? ChildEnd.exited(UInt8(status)) : .signal(status - 256)
    self.end = end
    return end
  }

  /// Of one that has ended. Who traces it is told first, and has to let go of it (ptrace(2)).
  private borrowing func reap(by deadline: Deadline) throws(SystemError) -> Int32 {
    while true {
      do throws(SystemError) {
        return try Syscalls.reap(process)
      } catch {
        guard error.errno == Errno.wouldBlock && !deadline.hasPassed else { throw error }
      }
      _ = try Syscalls.poll(-1, events: 0, -1, timeoutMilliseconds: 1)
    }
  }

  private borrowing func hasEnded(by deadline: Deadline) throws(SystemError) -> Bool {
    let number = ended.number
    while true {
      let left = deadline.remainingMilliseconds
      if try Syscalls.poll(number, events: Int16(POLLIN), -1, timeoutMilliseconds: left).first {
        return true
      }
      if left == 0 { return false }
    }
  }

  deinit {
    if end != nil { return }
    try? Syscalls.kill(group: process, SIGKILL)
    _ = try? hasEnded(by: Deadline(timeoutMilliseconds: Self.killMilliseconds))
    _ = try? Syscalls.reap(process)
  }
}

extension FileDescriptor {
  /// Whether nothing can be written through this descriptor.
  public func isReadOnly() throws(SystemError) -> Bool {
    try Syscalls.accessMode(number) == O_RDONLY
  }

  /// The same file, opened anew for reading only, past the page cache if it is a block device.
  /// Needs /proc.
  public func reopenedForReading() throws(SystemError) -> FileDescriptor {
    let direct = try status().kind == .blockDevice ? stubsave_O_DIRECT : 0
    return FileDescriptor(
      owning: try Syscalls.openat(
        AT_FDCWD, SystemPath(word: "/proc/self/fd/", number: UInt64(number)),
        O_RDONLY | O_CLOEXEC | direct, mode: 0))
  }
}
