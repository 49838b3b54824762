import SaveDisk
import SystemIO
import Transfer

/// A regular file that only root can have put there, in one of libxl's places.
///
/// What is anything else is not opened at all: a FIFO is waited for, and of some devices opening is
/// an order.
public enum RootsFile {
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

extension RootsFile {
  private static let maxTextBytes: UInt64 = 65536

  /// What stands in a file by which root decides what this program does; links are followed.
  ///
  /// - Parameter isOptional: it need not be there; nil then.
  /// - Throws: `.permission` if somebody else may have written it.
  public static func text(
    _ path: SystemPath, isOptional: Bool
  ) throws(ToolError) -> [UInt8]? {
    guard let file = try openIfThere(path, isOptional: isOptional) else { return nil }
    let status = try attempt(path) { () throws(SystemError) in try file.status() }
    guard status.kind == .regular, status.owner == 0 || !Isolation.isRoot,
      status.permissions & 0o022 == 0
    else {
      throw ToolError(.permission, path) {
        $0.append("is no regular file of root's that nobody else can write to")
      }
    }
    if status.bytes > maxTextBytes {
      throw ToolError(.overLimit, path) { $0.append("has more than 65536 bytes") }
    }
    return try attempt(path) { () throws(SystemError) in try file.bytes(count: status.bytes) }
  }

  private static func openIfThere(
    _ path: SystemPath, isOptional: Bool
  ) throws(ToolError) -> FileDescriptor? {
    do throws(SystemError) {
      return try FileDescriptor.open(path, .readNonBlocking)
    } catch {
      if isOptional && error.meansNothingThere { return nil }
      throw ToolError(error, path)
    }
  }
}
