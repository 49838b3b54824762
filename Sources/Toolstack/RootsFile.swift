import SaveDisk
import SystemIO
import Transfer

/// A regular file that only root can have put there, in one of libxl's places.
///
/// What is anything else is not opened at all: a FIFO is waited for, and of some devices opening is
/// an order.
enum RootsFile {
  /// - Throws: `.permission` if it is something else.
  static func open(_ path: SystemPath) throws(ToolError) -> FileDescriptor {
    let found = try attempt(path) { () throws(SystemError) in
      try FileStatus.of(path, followingLinks: false)
    }
    try require(found, path)
    let file = try openItself(path)
    // It may have been replaced meanwhile.
    try require(try attempt(path) { () throws(SystemError) in try file.status() }, path)
    return file
  }

  private static func openItself(_ path: SystemPath) throws(ToolError) -> FileDescriptor {
    do throws(SystemError) {
      return try FileDescriptor.open(path, .readItself)
    } catch {
      if error.errno == Errno.loop { throw refusal(path) }
      throw ToolError(error, path)
    }
  }

  static func require(_ status: FileStatus, _ path: SystemPath) throws(ToolError) {
    if status.kind != .regular || status.owner != 0 { throw refusal(path) }
  }

  private static func refusal(_ path: SystemPath) -> ToolError {
    ToolError(.permission, path) { $0.append("is no regular file of root's") }
  }
}
