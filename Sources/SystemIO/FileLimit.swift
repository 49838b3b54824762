/// What another process may write.
public enum FileLimit {
  /// No file that the process writes grows beyond so many bytes: the kernel ends a process that
  /// tries, unless it ignores SIGXFSZ (setrlimit(2)).
  public static func set(ofProcess process: Int32, bytes: UInt64) throws(SystemError) {
    try Syscalls.limitFiles(of: process, bytes: bytes)
  }
}
