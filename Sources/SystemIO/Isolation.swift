import CSystem

/// Walls that this process builds around itself. No policy: each function is one of them.
public enum Isolation {
  /// SIGKILL comes when `parent` ends; ESRCH if it has already. To be called after every change of
  /// user: that forgets it.
  public static func endWithParent(_ parent: Int32) throws(SystemError) {
    _ = try Syscalls.run(.prctl) { stubsave_die_with_parent(parent) }
  }

  public static func forbidNewPrivileges() throws(SystemError) {
    _ = try Syscalls.run(.prctl) { stubsave_no_new_privileges() }
  }

  /// No core is dumped, and nobody of the same user looks in. To be called after every change of
  /// user, which may undo it.
  public static func hideMemory() throws(SystemError) {
    _ = try Syscalls.run(.prctl) { stubsave_not_dumpable() }
  }

  /// Closes all open files from `number` on.
  public static func closeFiles(from number: Int32) throws(SystemError) {
    _ = try Syscalls.run(.closeRange) { stubsave_close_from(number) }
  }

  public static var processNumber: Int32 { getpid() }

  /// Of whoever has started this process; init's once that has ended.
  public static var parentNumber: Int32 { getppid() }

  /// A build for tests with a sanitizer, which makes calls of its own.
  public static var isSanitized: Bool { stubsave_is_sanitized() != 0 }

  public static var isRoot: Bool { stubsave_is_root() != 0 }

  /// In which an ordinary user may do what follows.
  public static func enterUserNamespace() throws(SystemError) {
    _ = try Syscalls.run(.unshare) { stubsave_own_user_namespace() }
  }

  public static func enterIPCNamespace() throws(SystemError) {
    _ = try Syscalls.run(.unshare) { stubsave_own_ipc_namespace() }
  }

  public static func enterNetworkNamespace() throws(SystemError) {
    _ = try Syscalls.run(.unshare) { stubsave_own_network_namespace() }
  }

  /// Nothing is there, and nothing can be made. Needs /proc, and the right to chroot.
  public static func emptyRoot() throws(SystemError) {
    _ = try Syscalls.run(.chroot) { stubsave_empty_root() }
  }

  /// A user and a group of that number, and no other groups.
  public static func become(user number: UInt32) throws(SystemError) {
    _ = try Syscalls.run(.setresuid) { stubsave_become_user(number) }
  }

  public static func dropCapabilities() throws(SystemError) {
    _ = try Syscalls.run(.capset) { stubsave_drop_capabilities() }
  }

  /// Address space beside what there is. Needs /proc.
  public static func limitMemory(moreBytes: UInt64) throws(SystemError) {
    _ = try Syscalls.run(.setrlimit) { stubsave_limit_memory(moreBytes) }
  }

  /// CPU time; then a signal ends the process.
  public static func limitProcessor(seconds: UInt64) throws(SystemError) {
    try limit(STUBSAVE_LIMIT_CPU_SECONDS, seconds)
  }

  /// No file that is written grows beyond that (EFBIG).
  public static func limitFiles(bytes: UInt64) throws(SystemError) {
    FileSizeLimit.becomesAnError()
    try limit(STUBSAVE_LIMIT_FILE_BYTES, bytes)
  }

  /// No core, no further open file, no process, no locked memory, no message queue.
  public static func limitTheRest() throws(SystemError) {
    for kind in [
      STUBSAVE_LIMIT_CORE, STUBSAVE_LIMIT_OPEN_FILES, STUBSAVE_LIMIT_PROCESSES,
      STUBSAVE_LIMIT_LOCKED_BYTES, STUBSAVE_LIMIT_QUEUE_BYTES,
    ] { try limit(kind, 0) }
  }

  private static func limit(_ kind: Int, _ value: UInt64) throws(SystemError) {
    _ = try Syscalls.run(.setrlimit) { stubsave_set_limit(Int32(kind), value) }
  }
}
