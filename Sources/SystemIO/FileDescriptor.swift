import CSystem

/// An open file, owned: closed when this goes away. Not copyable.
public struct FileDescriptor: ~Copyable {
  public let number: Int32
  private let isOwned: Bool

  /// Takes over `number`, which is closed in the end.
  public init(owning number: Int32) {
    self.number = number
    self.isOwned = true
  }

  /// Uses a descriptor that somebody else closes, such as standard input.
  public init(borrowing number: Int32) {
    self.number = number
    self.isOwned = false
  }

  public static var standardInput: FileDescriptor { FileDescriptor(borrowing: 0) }
  public static var standardOutput: FileDescriptor { FileDescriptor(borrowing: 1) }

  public var isTerminal: Bool { Syscalls.isatty(number) }

  deinit { if isOwned { Syscalls.close(number) } }

  /// Closes it: for whoever wanted to know only whether it can be opened.
  public consuming func close() {}

  /// Reads what there is, at most the span's length; 0 at the end. Waits for it, also where
  /// somebody has set O_NONBLOCK: whoever shares the open file may have.
  public func read(into buffer: inout MutableRawSpan, from start: Int) throws(SystemError) -> Int {
    while true {
      do throws(SystemError) {
        return try readNow(into: &buffer, from: start)
      } catch {
        guard error.errno == Errno.wouldBlock else { throw error }
      }
      _ = try Syscalls.poll(number, events: Syscalls.readable, -1, timeoutMilliseconds: -1)
    }
  }

  /// The same, and EAGAIN where O_NONBLOCK is set and there is nothing.
  public func readNow(
    into buffer: inout MutableRawSpan, from start: Int
  ) throws(SystemError) -> Int {
    try unsafe withTail(&buffer, start) { tail throws(SystemError) in
      try unsafe Syscalls.read(number, tail)
    }
  }

  /// Reads at `offset` of the file, at most what fits behind `start` of the buffer; 0 at the end.
  public func read(
    into buffer: inout MutableRawSpan, from start: Int, at offset: UInt64
  ) throws(SystemError) -> Int {
    try unsafe withTail(&buffer, start) { tail throws(SystemError) in
      try unsafe Syscalls.pread(number, tail, at: offset)
    }
  }

  private func withTail(
    _ buffer: inout MutableRawSpan, _ start: Int,
    _ body: (UnsafeMutableRawBufferPointer) throws(SystemError) -> Int
  ) throws(SystemError) -> Int {
    precondition(start >= 0 && start <= buffer.byteCount)
    return try unsafe buffer.withUnsafeMutableBytes { bytes throws(SystemError) in
      try unsafe body(UnsafeMutableRawBufferPointer(rebasing: bytes[start...]))
    }
  }

  /// Writes all bytes; after an error some of them may have been written. Waits where O_NONBLOCK
  /// is set, as `read` does.
  public func writeAll(_ bytes: RawSpan) throws(SystemError) {
    try unsafe bytes.withUnsafeBytes { buffer throws(SystemError) in
      var done = 0
      while done < buffer.count {
        do throws(SystemError) {
          let count = try unsafe Syscalls.write(
            number, UnsafeRawBufferPointer(rebasing: buffer[done...]))
          // Never of a regular file or device; would go on for ever.
          if count == 0 { throw SystemError(.write, errno: Errno.ioError) }
          done += count
        } catch {
          guard error.errno == Errno.wouldBlock else { throw error }
          _ = try Syscalls.poll(number, events: Syscalls.writable, -1, timeoutMilliseconds: -1)
        }
      }
    }
  }

  /// Writes what can be written now.
  ///
  /// - Returns: how many bytes, at least 1.
  public func writeSome(_ bytes: RawSpan) throws(SystemError) -> Int {
    try unsafe bytes.withUnsafeBytes { buffer throws(SystemError) in
      try unsafe Syscalls.write(number, buffer)
    }
  }

  /// Writes all bytes at `offset` of the file; after an error some may have been written.
  public func writeAll(_ bytes: RawSpan, at offset: UInt64) throws(SystemError) {
    try unsafe bytes.withUnsafeBytes { buffer throws(SystemError) in
      var done = 0
      while done < buffer.count {
        let count = try unsafe Syscalls.pwrite(
          number, UnsafeRawBufferPointer(rebasing: buffer[done...]), at: offset + UInt64(done))
        if count == 0 { throw SystemError(.pwrite, errno: Errno.ioError) }
        done += count
      }
    }
  }

  /// Returns when all that was written is on stable storage. After an error the file must be
  /// taken as damaged: the kernel may have dropped what it could not write, and a second call
  /// that succeeds proves nothing (fsync(2)).
  public func flush() throws(SystemError) { try Syscalls.fsync(number) }

  /// Lets the kernel begin to store a range of a file. A hint: errors show in `flush`.
  public func beginFlush(_ bytes: Int, at offset: UInt64) {
    _ = stubsave_begin_writeback(number, offset, UInt64(bytes))
  }

  /// Keeps other writers out until this is closed, by flock(2) and by a lock of the open file
  /// description (fcntl(2), as QEMU locks its images); EWOULDBLOCK if somebody has one already.
  public func lockExclusively() throws(SystemError) { try Syscalls.lockExclusively(number) }

  /// The first half of `lockExclusively`: keeps others out as well, and whoever asks `isLocked` is
  /// told that nobody owns this.
  public func lockForAMoment() throws(SystemError) { try Syscalls.lockFile(number) }

  /// Whether somebody else has it by `lockExclusively`; takes nothing.
  public func isLocked() throws(SystemError) -> Bool { try Syscalls.isLocked(number) }

  /// `lockExclusively`, while somebody who holds a lock for a moment only is waited for: udevd locks a
  /// device while it looks at it.
  public func lockExclusively(until deadline: Deadline) throws(SystemError) {
    while true {
      do throws(SystemError) {
        return try lockExclusively()
      } catch {
        guard error.errno == Errno.wouldBlock && !deadline.hasPassed else { throw error }
      }
      // There is no event for a lock that is given back.
      _ = try Syscalls.poll(-1, events: 0, -1, timeoutMilliseconds: 20)
    }
  }

  /// Where the next `read` or `writeAll` without an offset is.
  public func offset() throws(SystemError) -> UInt64 { try Syscalls.offset(number) }

  /// The next `read` or `writeAll` without an offset is at `offset`.
  public func seek(to offset: UInt64) throws(SystemError) {
    try Syscalls.seek(number, to: offset)
  }

  /// The same at the start.
  public func rewind() throws(SystemError) { try seek(to: 0) }

  public func truncate(to bytes: UInt64) throws(SystemError) {
    try Syscalls.ftruncate(number, to: bytes)
  }

  /// For everybody to read and run, for its owner to write (0755).
  public func makeExecutable() throws(SystemError) {
    try Syscalls.fchmod(number, mode: 0o755)
  }

  /// Reserves space, so that no later write within `bytes` ends in ENOSPC.
  public func preallocate(bytes: UInt64) throws(SystemError) {
    try Syscalls.fallocate(number, bytes: bytes)
  }
}

extension FileDescriptor {
  /// How a path is opened. Always close-on-exec.
  public enum Mode: Sendable {
    case read
    /// A FIFO whose writer is not waited for, and that is waited for by poll(2).
    case readNonBlocking
    /// No symbolic link; a FIFO is not waited for.
    case readItself
    case readWrite
    /// Must not exist, is made with the permissions 0600: state holds guest secrets.
    case createNew
    /// Made if it does not exist, 0600; only its name and its lock matter.
    case lockFile
    /// The same, if it is there.
    case existingLockFile
    /// Writes into something that exists and is no regular file, such as a FIFO.
    case writeExisting
    /// A FIFO that has a reader; else ENXIO.
    case writeNonBlocking
    /// Made if it does not exist, 0600; what is written goes behind what is there.
    case appendLog
    /// A block device past the page cache: every transfer in whole sectors, from and to memory
    /// that is aligned. While nobody has it mounted or in another exclusive use (EBUSY).
    case readWriteDirectExclusive
    /// A block device past the page cache, for reading.
    case readDirect
    /// A character device that is waited for by poll(2).
    case readWriteNonBlocking
  }

  public static func open(_ path: SystemPath, _ mode: Mode) throws(SystemError) -> FileDescriptor {
    let flags: Int32
    switch mode {
    case .read: flags = O_RDONLY
    case .readNonBlocking: flags = O_RDONLY | O_NONBLOCK
    case .readItself: flags = O_RDONLY | O_NOFOLLOW | O_NONBLOCK
    case .readWrite: flags = O_RDWR
    case .createNew: flags = O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW
    case .lockFile: flags = O_RDWR | O_CREAT | O_NOFOLLOW
    case .existingLockFile: flags = O_RDWR | O_NOFOLLOW
    case .appendLog: flags = O_WRONLY | O_CREAT | O_APPEND | O_NOFOLLOW
    case .writeExisting: flags = O_WRONLY
    case .writeNonBlocking: flags = O_WRONLY | O_NONBLOCK
    case .readWriteDirectExclusive: flags = O_RDWR | O_EXCL | stubsave_O_DIRECT
    case .readWriteNonBlocking: flags = O_RDWR | O_NONBLOCK
    case .readDirect: flags = O_RDONLY | stubsave_O_DIRECT
    }
    return FileDescriptor(
      owning: try Syscalls.openat(
        AT_FDCWD, path, flags | O_CLOEXEC | O_NOCTTY, mode: 0o600))
  }

  /// For looking at what is there; nothing is read or written.
  public static func openForLooking(_ path: SystemPath) throws(SystemError) -> FileDescriptor {
    FileDescriptor(
      owning: try Syscalls.openat(AT_FDCWD, path, stubsave_O_PATH | O_CLOEXEC, mode: 0))
  }

  /// A directory, to be flushed after a name in it has changed.
  public static func openDirectory(_ path: SystemPath) throws(SystemError) -> FileDescriptor {
    FileDescriptor(
      owning: try Syscalls.openat(
        AT_FDCWD, path, O_RDONLY | O_DIRECTORY | O_CLOEXEC, mode: 0))
  }

  /// A file without a name in `directory`, 0600; gone when closed. Not every file system can.
  public static func unnamed(in directory: SystemPath) throws(SystemError) -> FileDescriptor {
    FileDescriptor(
      owning: try Syscalls.openat(
        AT_FDCWD, directory, stubsave_O_TMPFILE | O_RDWR | O_CLOEXEC, mode: 0o600))
  }

  /// A file without a name anywhere below `directory`, also where `unnamed` is not known: there it
  /// has one for a moment.
  public static func unlinked(in directory: SystemPath) throws(SystemError) -> FileDescriptor {
    do throws(SystemError) {
      return try unnamed(in: directory)
    } catch {
      guard error.meansNoUnnamedFiles else { throw error }
    }
    let name = try Names.temporary(in: directory)
    let file = try open(name, .createNew)
    try Names.remove(name)
    return file
  }

  /// The same file, opened anew for writing only, at offset 0. Needs /proc.
  public func reopenedForWriting() throws(SystemError) -> FileDescriptor {
    FileDescriptor(
      owning: try Syscalls.openat(
        AT_FDCWD, SystemPath(word: "/proc/self/fd/", number: UInt64(number)),
        O_WRONLY | O_CLOEXEC, mode: 0))
  }

  /// A file in memory, that nobody else can open.
  public static func inMemory() throws(SystemError) -> FileDescriptor {
    FileDescriptor(owning: try Syscalls.memfdCreate("stubsave"))
  }
}
