import CSystem

/// The one place of the project that calls the system. No policy: each function is one call,
/// repeated while a signal interrupts it. Each can be made to fail (`Faults`).
enum Syscalls {
  /// Runs `operation` until it is not interrupted; its result, or errno as an error.
  @inline(__always)
  static func run<Result: SignedInteger>(
    _ call: SystemCall, _ operation: () -> Result
  ) throws(SystemError) -> Result {
    try injectUninterrupted(call)
    while true {
      let result = operation()
      if result >= 0 { return result }
      let code = stubsave_errno()
      if code != EINTR { throw SystemError(call, errno: code) }
    }
  }

  /// Fails if a test wants this call to fail.
  static func inject(_ call: SystemCall) throws(SystemError) {
    let code = stubsave_fault(Int32(call.rawValue))
    if code > 0 { throw SystemError(call, errno: code) }
  }

  /// The same for a call that is repeated when a signal interrupts it.
  static func injectUninterrupted(_ call: SystemCall) throws(SystemError) {
    do throws(SystemError) {
      try inject(call)
    } catch {
      if error.errno != EINTR { throw error }
    }
  }

  /// `run` for a call that may move fewer bytes than it is asked to.
  @inline(__always)
  static func move(
    _ call: SystemCall, _ count: Int, _ operation: (Int) -> Int
  ) throws(SystemError) -> Int {
    let code = stubsave_fault(Int32(call.rawValue))
    if code > 0 && code != EINTR { throw SystemError(call, errno: code) }
    let wanted = code == STUBSAVE_FAULT_SHORT ? shortened(count) : count
    while true {
      let result = operation(wanted)
      if result >= 0 { return result }
      let code = stubsave_errno()
      if code != EINTR { throw SystemError(call, errno: code) }
    }
  }

  /// Half of it; whole blocks where O_DIRECT may want them.
  private static func shortened(_ count: Int) -> Int {
    let block = 4096
    if count > block { return max(block, count / 2 / block * block) }
    return count < 2 || count % 512 == 0 ? count : count / 2
  }

  static func openat(
    _ directory: Int32, _ path: SystemPath, _ flags: Int32, mode: UInt32
  ) throws(SystemError) -> Int32 {
    try run(.open) {
      unsafe path.withCString { unsafe stubsave_openat(directory, $0, flags, mode) }
    }
  }

  /// Not repeated after EINTR: on Linux the descriptor is gone in any case (close(2)).
  static func close(_ descriptor: Int32) { _ = CSystem.close(descriptor) }

  static func fstat(_ descriptor: Int32) throws(SystemError) -> CSystem.stat {
    var status = CSystem.stat()
    _ = try run(.fstat) { unsafe CSystem.fstat(descriptor, &status) }
    return status
  }

  static func stat(_ path: SystemPath, flags: Int32) throws(SystemError) -> CSystem.stat {
    var status = CSystem.stat()
    _ = try run(.stat) {
      unsafe path.withCString { unsafe fstatat(AT_FDCWD, $0, &status, flags) }
    }
    return status
  }

  static func read(
    _ descriptor: Int32, _ buffer: UnsafeMutableRawBufferPointer
  ) throws(SystemError) -> Int {
    try move(.read, buffer.count) { unsafe CSystem.read(descriptor, buffer.baseAddress, $0) }
  }

  static func pread(
    _ descriptor: Int32, _ buffer: UnsafeMutableRawBufferPointer, at offset: UInt64
  ) throws(SystemError) -> Int {
    try move(.pread, buffer.count) {
      unsafe CSystem.pread(descriptor, buffer.baseAddress, $0, off_t(offset))
    }
  }

  static func write(
    _ descriptor: Int32, _ buffer: UnsafeRawBufferPointer
  ) throws(SystemError) -> Int {
    try move(.write, buffer.count) { unsafe CSystem.write(descriptor, buffer.baseAddress, $0) }
  }

  static func pwrite(
    _ descriptor: Int32, _ buffer: UnsafeRawBufferPointer, at offset: UInt64
  ) throws(SystemError) -> Int {
    try move(.pwrite, buffer.count) {
      unsafe CSystem.pwrite(descriptor, buffer.baseAddress, $0, off_t(offset))
    }
  }

  /// Not repeated after EINTR: whether everything has been stored is then not known, and a second
  /// call that succeeds would prove nothing.
  static func fsync(_ descriptor: Int32) throws(SystemError) {
    try inject(.fsync)
    if CSystem.fsync(descriptor) != 0 { throw SystemError(.fsync, errno: stubsave_errno()) }
  }

  static func offset(_ descriptor: Int32) throws(SystemError) -> UInt64 {
    UInt64(try run(.seek) { lseek(descriptor, 0, SEEK_CUR) })
  }

  static func seek(_ descriptor: Int32, to offset: UInt64) throws(SystemError) {
    _ = try run(.seek) { lseek(descriptor, off_t(offset), SEEK_SET) }
  }

  /// Where the next bytes are that are no hole; nil if there are none up to the end.
  static func seekData(_ descriptor: Int32, from offset: UInt64) throws(SystemError) -> UInt64? {
    do throws(SystemError) {
      return UInt64(try run(.seek) { stubsave_seek_data(descriptor, offset) })
    } catch {
      switch error.errno {
      case Errno.noDevice: return nil
      // A device, or a file system, that knows no holes.
      case Errno.invalid, Errno.notSupported: return offset
      default: throw error
      }
    }
  }

  static func ftruncate(_ descriptor: Int32, to bytes: UInt64) throws(SystemError) {
    _ = try run(.ftruncate) { CSystem.ftruncate(descriptor, off_t(bytes)) }
  }

  static func fchmod(_ descriptor: Int32, mode: UInt32) throws(SystemError) {
    _ = try run(.fchmod) { CSystem.fchmod(descriptor, mode) }
  }

  /// posix_fallocate(3) gives the error as its result.
  static func fallocate(_ descriptor: Int32, bytes: UInt64) throws(SystemError) {
    try injectUninterrupted(.fallocate)
    while true {
      let code = posix_fallocate(descriptor, 0, off_t(bytes))
      if code == 0 { return }
      if code != EINTR { throw SystemError(.fallocate, errno: code) }
    }
  }

  /// Gives an unnamed file (O_TMPFILE) a name, through /proc as open(2) shows it; linkat with
  /// AT_EMPTY_PATH would need CAP_DAC_READ_SEARCH.
  static func linkat(_ procPath: SystemPath, to path: SystemPath) throws(SystemError) {
    _ = try run(.linkat) {
      unsafe procPath.withCString { from in
        unsafe path.withCString { to in
          unsafe CSystem.linkat(AT_FDCWD, from, AT_FDCWD, to, AT_SYMLINK_FOLLOW)
        }
      }
    }
  }

  static func rename(_ from: SystemPath, to path: SystemPath) throws(SystemError) {
    _ = try run(.renameat) {
      unsafe from.withCString { from in
        unsafe path.withCString { to in unsafe renameat(AT_FDCWD, from, AT_FDCWD, to) }
      }
    }
  }

  static func unlink(_ path: SystemPath) throws(SystemError) {
    _ = try run(.unlinkat) {
      unsafe path.withCString { unsafe CSystem.unlinkat(AT_FDCWD, $0, 0) }
    }
  }

  static func makeDirectory(_ path: SystemPath, mode: mode_t) throws(SystemError) {
    _ = try run(.mkdir) {
      unsafe path.withCString { unsafe CSystem.mkdirat(AT_FDCWD, $0, mode) }
    }
  }

  static func memfdCreate(_ name: StaticString) throws(SystemError) -> Int32 {
    try run(.memfdCreate) {
      name.withUTF8Buffer {
        unsafe stubsave_memfd_create(
          UnsafeRawPointer($0.baseAddress!).assumingMemoryBound(to: CChar.self))
      }
    }
  }

  static func isatty(_ descriptor: Int32) -> Bool { CSystem.isatty(descriptor) == 1 }

  /// Fills `buffer`, at most 256 bytes, which getrandom(2) gives whole.
  static func getrandom(_ buffer: UnsafeMutableRawBufferPointer) throws(SystemError) {
    let count = try run(.getrandom) {
      unsafe CSystem.getrandom(buffer.baseAddress, buffer.count, 0)
    }
    precondition(count == buffer.count && count <= 256)
  }

  static func readlink(_ path: SystemPath) throws(SystemError) -> [UInt8] {
    var bytes = [UInt8](repeating: 0, count: 4096)
    let count = try run(.readlink) {
      unsafe path.withCString { path in
        unsafe bytes.withUnsafeMutableBytes {
          unsafe CSystem.readlink(
            path, $0.baseAddress!.assumingMemoryBound(to: CChar.self), $0.count - 1)
        }
      }
    }
    return [UInt8](bytes[..<count])
  }

  static func defaultIgnoredSignals() { stubsave_default_ignored_signals() }

  /// `number` is not closed on exec; what was open there is closed.
  static func duplicate(_ descriptor: Int32, as number: Int32) throws(SystemError) {
    _ = try run(.dup) { stubsave_dup(descriptor, number) }
  }

  static func execute(_ path: SystemPath, _ arguments: [SystemPath]) throws(SystemError) {
    try inject(.exec)
    let code = unsafe withArguments(arguments) { pointers in
      _ = unsafe path.withCString { unsafe execv($0, pointers) }
      return stubsave_errno()
    }
    throw SystemError(.exec, errno: code)
  }

  /// An argv for the time of `body`.
  static func withArguments<R>(
    _ arguments: [SystemPath], _ body: (UnsafePointer<UnsafeMutablePointer<CChar>?>) -> R
  ) -> R {
    var pointers: [UnsafeMutablePointer<CChar>?] = unsafe []
    for argument in arguments {
      unsafe pointers.append(argument.withCString { unsafe strdup($0) })
    }
    unsafe pointers.append(nil)
    let result = unsafe body(pointers)
    for index in unsafe pointers.indices { unsafe free(pointers[index]) }
    return result
  }
}
