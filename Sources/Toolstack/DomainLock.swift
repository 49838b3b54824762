import SaveDisk
import SystemIO
import Transfer

/// Keeps a second command off a stubdomain. Goes with the process, however that ends.
struct DomainLock: ~Copyable {
  private let file: FileDescriptor
  private let path: SystemPath

  /// So often somebody else may remove the file between its opening and its locking.
  private static let maxAttempts = 64

  /// - Throws: `.busy` if another command has it.
  init(domid: UInt32) throws(ToolError) {
    let path = SystemPath(word: "/run/stubsave-domain-", number: UInt64(domid))
    file = try DomainLock.locked(path)
    self.path = path
  }

  private static func locked(_ path: SystemPath) throws(ToolError) -> FileDescriptor {
    for _ in 0..<maxAttempts {
      let file = try attempt(path) { () throws(SystemError) in
        try FileDescriptor.open(path, .lockFile)
      }
      do throws(SystemError) {
        try file.lockExclusively()
      } catch {
        guard error.errno == Errno.wouldBlock else { throw ToolError(error, path) }
        throw ToolError(.busy, path) {
          $0.append("another stubsave is at work with this domain")
        }
      }
      // Whoever had it before has removed it, and what is locked now is nobody's any more.
      if let now = try? FileStatus.of(path, followingLinks: false), let ours = try? file.status(),
        now.isSameFile(as: ours)
      {
        return file
      }
    }
    throw ToolError(.busy, path) { $0.append("others come and go all the time") }
  }

  /// While it is still locked: nobody else has it for his own.
  deinit { try? Names.remove(path) }
}
