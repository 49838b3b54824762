import SaveDisk
import SystemIO
import Transfer

/// The plumbing commands on disks in plain files: allocate, write, read, verify, inspect.
public enum DiskCommands {
  /// The kind of what stands at `path`; nil if nothing does.
  static func existing(_ path: SystemPath) throws(ToolError) -> FileStatus.Kind? {
    do throws(SystemError) {
      return try FileStatus.of(path).kind
    } catch {
      if error.errno == Errno.noEntry { return nil }
      throw ToolError(error, path)
    }
  }

  /// A disk cannot be written to standard output: it is read back and padded.
  static func requireName(_ path: SystemPath) throws(ToolError) {
    if path.isStandardStream {
      throw ToolError(.usage, nil) {
        $0.append("a disk needs a file, not standard output; ./- is a file of that name")
      }
    }
  }

  /// A symbolic link that leads nowhere: not existing for `existing`, but a name that is taken.
  static func isDanglingLink(_ path: SystemPath) throws(ToolError) -> Bool {
    do throws(SystemError) {
      _ = try FileStatus.of(path, followingLinks: false)
      return true
    } catch {
      if error.errno == Errno.noEntry { return false }
      throw ToolError(error, path)
    }
  }

  static func wouldDestroy(_ path: SystemPath) -> ToolError {
    ToolError(.wouldDestroy, path) { $0.append("exists; --force replaces it") }
  }

  /// Opens a disk for reading; "-" is standard input.
  static func openInput(_ path: SystemPath) throws(ToolError) -> FileDescriptor {
    if path.isStandardStream { return .standardInput }
    return try attempt(path) { () throws(SystemError) in
      let input = try FileDescriptor.open(path, .read)
      switch try input.status().kind {
      case .directory: throw SystemError(.open, errno: Errno.isDirectory)
      // What a stubdomain writes goes past dom0's page cache, which may hold what was there before.
      case .blockDevice: return try FileDescriptor.open(path, .readDirect)
      default: return input
      }
    }
  }
}

extension SystemPath {
  /// "-", which stands for standard input or output.
  public var isStandardStream: Bool { bytes.elementsEqual([UInt8(ascii: "-")]) }

  /// For reports: printable ASCII, other bytes as \xNN.
  public var text: String {
    var plain = PlainText()
    plain.append(escaping: bytes)
    return plain.text
  }
}
