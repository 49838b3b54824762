import CSystem

extension FileDescriptor {
  /// Gives an unnamed file the name `path`, which must not exist (EEXIST).
  public func link(to path: SystemPath) throws(SystemError) {
    var digits: [UInt8] = []
    var rest = number
    repeat {
      digits.append(UInt8(ascii: "0") + UInt8(rest % 10))
      rest /= 10
    } while rest > 0
    var bytes = [UInt8](StaticBytes.procSelf)
    bytes.append(contentsOf: digits.reversed())
    guard let procPath = SystemPath(bytes: bytes) else { preconditionFailure() }
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

extension SystemPath {
  /// This directory's entry `name`.
  public func appending(_ name: [UInt8]) -> SystemPath {
    SystemPath(bytes: [UInt8](bytes) + [UInt8(ascii: "/")] + name) ?? self
  }
}

/// Changes of names in the file system.
public enum Names {
  /// ".stubsave-" and 16 random digits.
  public static func temporary() throws(SystemError) -> [UInt8] {
    let prefix: StaticString = ".stubsave-"
    var name = unsafe [UInt8](
      UnsafeBufferPointer(start: prefix.utf8Start, count: prefix.utf8CodeUnitCount))
    var word = try Randomness.words().0
    for _ in 0..<16 {
      let digit = UInt8(word & 15)
      name.append(digit < 10 ? UInt8(ascii: "0") + digit : UInt8(ascii: "a") + digit - 10)
      word >>= 4
    }
    return name
  }

  /// Atomically, also over an existing file.
  public static func rename(_ from: SystemPath, to path: SystemPath) throws(SystemError) {
    try Syscalls.rename(from, to: path)
  }

  /// A second name for the file `from`; `path` must not exist (EEXIST).
  public static func link(_ from: SystemPath, to path: SystemPath) throws(SystemError) {
    try Syscalls.linkat(from, to: path)
  }

  public static func remove(_ path: SystemPath) throws(SystemError) {
    try Syscalls.unlink(path)
  }

  /// Makes changes of names in `directory` durable.
  public static func flush(directory: SystemPath) throws(SystemError) {
    try FileDescriptor.openDirectory(directory).flush()
  }
}

private enum StaticBytes {
  /// "/proc/self/fd/"
  static var procSelf: [UInt8] {
    let text: StaticString = "/proc/self/fd/"
    return unsafe [UInt8](UnsafeBufferPointer(start: text.utf8Start, count: text.utf8CodeUnitCount))
  }
}
