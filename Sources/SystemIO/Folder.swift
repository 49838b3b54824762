import CSystem

/// A directory that is held open: what is done in it stays in it, wherever its path leads meanwhile.
public struct Folder: ~Copyable {
  public let descriptor: FileDescriptor

  /// How often a path is looked up anew that others rename something in (openat2(2), EAGAIN).
  private static let maxAttempts = 64

  /// - Parameter path: links are followed.
  public init(_ path: SystemPath) throws(SystemError) {
    descriptor = try FileDescriptor.openDirectory(path)
  }

  private init(_ descriptor: consuming FileDescriptor) { self.descriptor = descriptor }

  // MARK: As the root of a system

  /// A directory of the system of which this is the root: links in its path, also absolute ones, lead to
  /// where they would lead in that system, and never out of it.
  public func folder(inRoot path: SystemPath) throws(SystemError) -> Folder {
    Folder(FileDescriptor(owning: try lookUp(path, O_RDONLY | O_DIRECTORY)))
  }

  /// The same for anything, which is not opened.
  public func status(inRoot path: SystemPath) throws(SystemError) -> FileStatus {
    let found = FileDescriptor(owning: try lookUp(path, stubsave_O_PATH))
    return FileStatus(try Syscalls.fstat(found.number), blockDeviceBytes: 0)
  }

  private func lookUp(_ path: SystemPath, _ flags: Int32) throws(SystemError) -> Int32 {
    var attempts = 1
    while true {
      do throws(SystemError) {
        return try Syscalls.openInRoot(descriptor.number, path, flags | O_CLOEXEC)
      } catch {
        if error.errno != EAGAIN || attempts == Folder.maxAttempts { throw error }
        attempts += 1
      }
    }
  }

  /// Where it is now. Needs /proc.
  public func path() throws(SystemError) -> SystemPath { try Names.target(of: procPath) }

  /// A path of it that nobody can lead elsewhere, for this process.
  public var procPath: SystemPath {
    SystemPath(word: "/proc/self/fd/", number: UInt64(descriptor.number))
  }

  // MARK: Names in it

  /// Of the name itself, be it a link.
  public func status(of name: SystemPath) throws(SystemError) -> FileStatus {
    FileStatus(
      try Syscalls.stat(name, in: descriptor.number, flags: AT_SYMLINK_NOFOLLOW),
      blockDeviceBytes: 0)
  }

  /// Nil if nothing has it.
  public func statusIfThere(of name: SystemPath) throws(SystemError) -> FileStatus? {
    do throws(SystemError) {
      return try status(of: name)
    } catch {
      if error.errno == Errno.noEntry { return nil }
      throw error
    }
  }

  /// Where a symbolic link leads, as it says itself.
  public func target(ofLink name: SystemPath) throws(SystemError) -> SystemPath {
    guard let path = procPath.appending([UInt8](name.bytes)) else {
      throw SystemError(.open, errno: EINVAL)
    }
    return try Names.target(of: path)
  }

  /// Its file system takes no change.
  public func isReadOnly() throws(SystemError) -> Bool {
    do throws(SystemError) {
      try Syscalls.requireWritable(descriptor.number)
    } catch {
      if error.errno == EROFS { return true }
      if error.errno != EACCES { throw error }
    }
    return false
  }

  /// For reading. No symbolic link; a FIFO is not waited for.
  public func open(_ name: SystemPath) throws(SystemError) -> FileDescriptor {
    try open(name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK, 0)
  }

  /// Must not exist; 0600.
  public func create(_ name: SystemPath) throws(SystemError) -> FileDescriptor {
    try open(name, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW, 0o600)
  }

  /// Made if it does not exist, 0640; only its lock matters.
  public func openLock(_ name: SystemPath) throws(SystemError) -> FileDescriptor {
    try open(name, O_RDWR | O_CREAT | O_NOFOLLOW, 0o640)
  }

  private func open(
    _ name: SystemPath, _ flags: Int32, _ mode: UInt32
  ) throws(SystemError) -> FileDescriptor {
    FileDescriptor(
      owning: try Syscalls.openat(
        descriptor.number, name, flags | O_CLOEXEC | O_NOCTTY, mode: mode))
  }

  /// A second name for what `name` is, be it a link; `other` must not exist (EEXIST).
  public func link(_ name: SystemPath, to other: SystemPath) throws(SystemError) {
    try Syscalls.link(name, to: other, in: descriptor.number)
  }

  /// Atomically, also over something.
  public func rename(_ name: SystemPath, to other: SystemPath) throws(SystemError) {
    try Syscalls.rename(name, to: other, in: descriptor.number)
  }

  /// The two change places, atomically. Not every file system can (EINVAL).
  public func exchange(_ name: SystemPath, with other: SystemPath) throws(SystemError) {
    try Syscalls.exchange(name, with: other, in: descriptor.number)
  }

  public func remove(_ name: SystemPath) throws(SystemError) {
    try Syscalls.unlink(name, in: descriptor.number)
  }

  /// Makes changes of names durable.
  public func flush() throws(SystemError) { try descriptor.flush() }

  // MARK: Its lock

  /// By flock(2), of the directory itself; waits for others until then (EWOULDBLOCK).
  ///
  /// - Parameter isShared: beside others that only look.
  public func lock(isShared: Bool, until deadline: Deadline) throws(SystemError) {
    let number = descriptor.number
    try FileDescriptor.waitForLock(until: deadline) { () throws(SystemError) in
      try Syscalls.flock(number, isShared: isShared)
    }
  }
}

extension FileDescriptor {
  /// A lock of the open file description (fcntl(2)), which those that programs take by F_SETLK respect.
  public func lockAsWriter(until deadline: Deadline) throws(SystemError) {
    let number = self.number
    try FileDescriptor.waitForLock(until: deadline) { () throws(SystemError) in
      try Syscalls.lockAsWriter(number)
    }
  }

  fileprivate static func waitForLock(
    until deadline: Deadline, _ attempt: () throws(SystemError) -> Void
  ) throws(SystemError) {
    while true {
      do throws(SystemError) {
        return try attempt()
      } catch {
        guard error.errno == Errno.wouldBlock && !deadline.hasPassed else { throw error }
      }
      // There is no event for a lock that is given back.
      _ = try Syscalls.poll(-1, events: 0, -1, timeoutMilliseconds: 10)
    }
  }
}
