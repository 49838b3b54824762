import CSystem

/// A file in memory that cannot grow beyond a limit, whoever writes it: then ENOSPC.
///
/// It lies in a tmpfs of its own that is mounted nowhere (fsopen(2), Linux 5.2), so nobody else
/// can open it, and it is gone with its descriptors. Needs CAP_SYS_ADMIN.
///
/// The writer's descriptor is one that QEMU takes for a file descriptor set: a regular file opened
/// exactly O_WRONLY (util/osdep.c, qemu_dup_flags).
public struct BoundedFile: ~Copyable {
  public let writer: FileDescriptor
  public let reader: FileDescriptor
  /// The limit, in bytes: what was asked for, rounded up to whole pages. Nil if there is none.
  public let maxBytes: UInt64?

  /// The largest page size that Linux has on x86 and Arm.
  private static let pageBytes: UInt64 = 65_536

  /// Where the privilege is missing: a file in memory without a limit. Needs /proc.
  public init() throws(SystemError) {
    let reader = try FileDescriptor.inMemory()
    writer = try reader.reopenedForWriting()
    self.reader = reader
    maxBytes = nil
  }

  public init(maxBytes: UInt64) throws(SystemError) {
    let wanted = min(maxBytes, 1 << 61)
    let limit = (wanted + BoundedFile.pageBytes - 1) & ~(BoundedFile.pageBytes - 1)
    let context = FileDescriptor(owning: try Syscalls.openTmpfs())
    try Syscalls.configureTmpfs(
      context.number, SystemPath(word: "size"), SystemPath(word: "", number: max(limit, 1)))
    try Syscalls.configureTmpfs(
      context.number, SystemPath(word: "mode"), SystemPath(word: "0700"))
    try Syscalls.createTmpfs(context.number)
    let root = FileDescriptor(owning: try Syscalls.mount(context.number))
    let name = SystemPath(word: "state")
    let writer = FileDescriptor(
      owning: try Syscalls.openat(
        root.number, name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, mode: 0o600))
    let reader = FileDescriptor(
      owning: try Syscalls.openat(root.number, name, O_RDONLY | O_CLOEXEC, mode: 0))
    self.maxBytes = limit
    self.writer = writer
    self.reader = reader
  }

  /// With the limit, or without it where the privilege or the system call is missing
  /// (CAP_SYS_ADMIN, Linux 5.2): the limit counts afterwards there.
  public static func bestEffort(maxBytes: UInt64) throws(SystemError) -> BoundedFile {
    do throws(SystemError) {
      return try BoundedFile(maxBytes: maxBytes)
    } catch {
      switch error.errno {
      case Errno.notPermitted, Errno.accessDenied, Errno.noSystemCall: break
      default: throw error
      }
    }
    return try BoundedFile()
  }

  /// QEMU before 9.1 closes a descriptor that was taken back only while its guest runs, and never
  /// after a save that failed (measured with 7.2): so it is left with an empty file.
  deinit { try? writer.truncate(to: 0) }

  /// True if a write has failed, or will, because of the limit.
  public func isFull() throws(SystemError) -> Bool {
    guard let maxBytes else { return false }
    return try reader.status().bytes >= maxBytes
  }
}
