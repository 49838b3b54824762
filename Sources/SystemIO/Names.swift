import CSystem

extension FileDescriptor {
  /// Gives an unnamed file the name `path`, which must not exist (EEXIST).
  public func link(to path: SystemPath) throws(SystemError) {
    let procPath = SystemPath(word: "/proc/self/fd/", number: UInt64(number))
    try Syscalls.linkat(procPath, to: path)
  }
}

extension SystemError {
  /// What open(2) says where O_TMPFILE is not known: EISDIR, EOPNOTSUPP, or EINVAL.
  public var meansNoUnnamedFiles: Bool {
    call == .open
      && (errno == Errno.isDirectory || errno == Errno.notSupported || errno == Errno.invalid)
  }
}

/// Changes of names in the file system.
public enum Names {
  /// A name in `directory` that nobody has: ".stubsave-" and 16 random digits.
  public static func temporary(in directory: SystemPath) throws(SystemError) -> SystemPath {
    var name = [UInt8](SystemPath(word: ".stubsave-").bytes)
    var word = try Randomness.words().0
    for _ in 0..<16 {
      let digit = UInt8(word & 15)
      name.append(digit < 10 ? UInt8(ascii: "0") + digit : UInt8(ascii: "a") + digit - 10)
      word >>= 4
    }
    guard let path = directory.appending(name) else { preconditionFailure() }
    return path
  }

  /// Atomically, also over an existing file.
  public static func rename(_ from: SystemPath, to path: SystemPath) throws(SystemError) {
    try Syscalls.rename(from, to: path)
  }

  /// A second name for the file `from`; `path` must not exist (EEXIST).
  public static func link(_ from: SystemPath, to path: SystemPath) throws(SystemError) {
    try Syscalls.linkat(from, to: path)
  }

  /// What a symbolic link says; at most 4095 bytes.
  public static func target(of link: SystemPath) throws(SystemError) -> SystemPath {
    let bytes = try Syscalls.readlink(link)
    guard let path = SystemPath(bytes: bytes) else {
      throw SystemError(.readlink, errno: Errno.invalid)
    }
    return path
  }

  public static func remove(_ path: SystemPath) throws(SystemError) {
    try Syscalls.unlink(path)
  }

  /// A directory for its owner alone, 0700; EEXIST if there is something.
  public static func makeDirectory(_ path: SystemPath) throws(SystemError) {
    try Syscalls.makeDirectory(path, mode: 0o700)
  }

  /// Makes changes of names in `directory` durable.
  public static func flush(directory: SystemPath) throws(SystemError) {
    try FileDescriptor.openDirectory(directory).flush()
  }
}
