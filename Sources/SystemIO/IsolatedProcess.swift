import CSystem

/// A program that has nothing but the open files that it is given: no environment, no arguments,
/// and no way to this process but a pipe. Killed and reaped when this goes away.
public struct IsolatedProcess: ~Copyable {
  private let process: Int32
  /// Readable once it has ended.
  private let ended: FileDescriptor
  /// What it writes to the last of its open files.
  private let words: FileDescriptor
  /// Readable once SIGHUP, SIGINT or SIGTERM has come in, where they are held back.
  private let signals: FileDescriptor
  private var pump: StreamPump?
  private let deadline: Deadline?
  private var end: ChildEnd?

  /// For the end after SIGKILL: a process stays in a system call on a device that does not answer.
  private static let killMilliseconds: UInt64 = 10_000

  /// - Parameters:
  ///   - program: as it is; PATH is not looked at.
  ///   - name: its only argument.
  ///   - files: its open files 0, 1 and so on, -1 is none.
  ///   - request: what it can read from the open file after those; at most a page, which a pipe
  ///     takes at once. It writes to the open file after that.
  ///   - pump: what it reads, moved while its messages are waited for.
  ///   - deadline: for all that it says; nil is none.
  public static func start(
    _ program: SystemPath, name: SystemPath, files: [Int32], request: RawSpan,
    pump: consuming StreamPump? = nil, until deadline: Deadline? = nil
  ) throws(SystemError) -> IsolatedProcess {
    let signals = FileDescriptor(owning: try Syscalls.endingSignalsDescriptor())
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
      return IsolatedProcess(process, ended, words, signals, pump, deadline)
    } catch {
      try? Syscalls.kill(group: process, SIGKILL)
      throw error
    }
  }

  private init(
    _ process: Int32, _ ended: consuming FileDescriptor, _ words: consuming FileDescriptor,
    _ signals: consuming FileDescriptor, _ pump: consuming StreamPump?, _ deadline: Deadline?
  ) {
    self.process = process
    self.ended = ended
    self.words = words
    self.signals = signals
    self.pump = pump
    self.deadline = deadline
  }

  /// Waits for a message of fixed size.
  ///
  /// - Returns: fewer bytes if it has ended, or closed its pipe, before it has said so much.
  /// - Throws: ETIMEDOUT after the deadline; EINTR once a signal has come in that is held back.
  public mutating func message(byteCount: Int) throws(SystemError) -> [UInt8] {
    var buffer = AlignedBuffer(byteCount: byteCount)
    var count = 0
    while count < byteCount {
      try awaitWords()
      var target = buffer.mutableBytes(0..<byteCount)
      let fetched = try words.read(into: &target, from: count)
      if fetched == 0 { break }
      count += fetched
    }
    return buffer.array(0..<count)
  }

  private mutating func awaitWords() throws(SystemError) {
    while true {
      let left = deadline?.remainingMilliseconds ?? -1
      let pumped = pump?.needs
      let ready = try Syscalls.poll(
        pumped?.number ?? -1, events: pumped?.events ?? 0, words.number, signals.number,
        timeoutMilliseconds: left)
      if ready.third { throw SystemError(.wait, errno: Errno.interrupted) }
      if ready.second { return }
      if ready.first { try pump?.step() }
      // Also while there is always something to be moved.
      if left == 0 { throw SystemError(.wait, errno: Errno.timedOut) }
    }
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
