import CSystem

/// A program that runs beside this one, in a process group of its own, so that what a terminal
/// sends does not reach it. Ended and reaped when this goes away.
public struct ChildProcess: ~Copyable {
  private let process: Int32
  /// Readable once it has ended.
  private let ended: FileDescriptor
  private let messages: FileDescriptor
  private var end: ChildEnd?
  /// Its number may be another's by now.
  private var isReaped = false

  /// For the end after SIGKILL.
  private static let killMilliseconds: UInt64 = 2_000
  /// Most that is kept of what it says on standard error.
  private static let maxMessageBytes = 4096

  /// Starts it; standard input and output are empty.
  ///
  /// - Parameters:
  ///   - program: as it is; PATH is not looked at.
  ///   - arguments: argv, the first is its name.
  ///   - files: its open files 3, 4 and so on; it has no others.
  ///   - standardError: nil comes here, to `takeMessages`.
  ///   - isBound: it is told to end (SIGTERM) when this process has ended, however that was.
  public static func start(
    _ program: SystemPath, _ arguments: [SystemPath], files: [Int32], standardError: Int32? = nil,
    isBound: Bool = false
  ) throws(SystemError) -> ChildProcess {
    let nothing = try FileDescriptor.open(SystemPath(word: "/dev/null"), .readWrite)
    let (reader, writer) = try Syscalls.pipe()
    let messages = FileDescriptor(owning: reader)
    let theirs = FileDescriptor(owning: writer)
    let process = try Syscalls.spawn(
      program, arguments,
      files: [nothing.number, nothing.number, standardError ?? theirs.number] + files,
      isBound: isBound)
    do throws(SystemError) {
      let ended = FileDescriptor(owning: try Syscalls.pidfd(process))
      return ChildProcess(process, ended, messages)
    } catch {
      // It finds its carrier closed, and ends by itself.
      try? Syscalls.kill(group: process, SIGKILL)
      throw error
    }
  }

  private init(
    _ process: Int32, _ ended: consuming FileDescriptor, _ messages: consuming FileDescriptor
  ) {
    self.process = process
    self.ended = ended
    self.messages = messages
  }

  /// Readable once it has ended.
  public var number: Int32 { ended.number }

  /// It goes on without this process: nothing ends or reaps it any more.
  public mutating func letRun() { isReaped = true }

  public var id: Int32 { process }

  /// Asks it to end (SIGTERM).
  public borrowing func terminate() {
    if !isReaped { try? Syscalls.kill(group: process, SIGTERM) }
  }

  /// Waits for its end; what takes longer is killed.
  public mutating func wait(until deadline: Deadline) throws(SystemError) -> ChildEnd {
    if let end { return end }
    if try !hasEnded(by: deadline) {
      try? Syscalls.kill(group: process, SIGKILL)
      // In a system call that does not end it stays: it is init's then.
      if try !hasEnded(by: Deadline(timeoutMilliseconds: Self.killMilliseconds)) {
        throw SystemError(.wait, errno: Errno.timedOut)
      }
    }
    isReaped = true
    let status = try Syscalls.reap(process)
    let end = status < 256 ? ChildEnd.exited(UInt8(status)) : .signal(status - 256)
    self.end = end
    return end
  }

  private borrowing func hasEnded(by deadline: Deadline) throws(SystemError) -> Bool {
    while true {
      let left = deadline.remainingMilliseconds
      let number = ended.number
      if try Syscalls.poll(number, events: Int16(POLLIN), -1, timeoutMilliseconds: left).first {
        return true
      }
      if left == 0 { return false }
    }
  }

  /// What it has said on standard error by now, and not been told of yet. Does not wait.
  public borrowing func takeMessages() -> [UInt8] {
    var buffer = AlignedBuffer(byteCount: ChildProcess.maxMessageBytes)
    var target = buffer.mutableBytes(0..<ChildProcess.maxMessageBytes)
    // Nothing there is an error too.
    let count = (try? messages.readNow(into: &target, from: 0)) ?? 0
    return buffer.array(0..<count)
  }

  deinit {
    if isReaped { return }
    try? Syscalls.kill(group: process, SIGKILL)
    _ = try? hasEnded(by: Deadline(timeoutMilliseconds: Self.killMilliseconds))
    _ = try? Syscalls.reap(process)
  }
}

/// How a program has ended.
public enum ChildEnd: Sendable, Equatable {
  case exited(UInt8)
  case signal(Int32)
}
