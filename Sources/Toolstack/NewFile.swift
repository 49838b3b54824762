import SaveDisk
import SystemIO

/// A file that gets its name only when it is complete: until then nothing of it is visible, and
/// nothing is left of it if the process dies.
///
/// Where the file system knows no unnamed files (O_TMPFILE), a neighbour with a random name
/// stands in; that one is left behind if a signal ends the process.
public struct NewFile: ~Copyable {
  /// What a new file may take the name of.
  public enum Replaceable: Sendable {
    case nothing
    /// Or a symbolic link, of which the link is replaced.
    case regularFile
    /// But a directory: for places of which nobody else makes use, such as libxl's of a state.
    case anything
  }

  public let descriptor: FileDescriptor
  private let path: SystemPath
  private let directory: SystemPath
  /// Nil while the file has no name.
  private var neighbour: SystemPath?

  /// - Parameters:
  ///   - path: where the file will be; its directory must exist.
  ///   - withoutUnnamedFiles: as if the file system had none, for tests.
  public init(for path: SystemPath, withoutUnnamedFiles: Bool = false) throws(SystemError) {
    self.path = path
    directory = path.directoryAndName.directory
    if !withoutUnnamedFiles {
      do throws(SystemError) {
        descriptor = try FileDescriptor.unnamed(in: directory)
        neighbour = nil
        return
      } catch {
        guard error.meansNoUnnamedFiles else { throw error }
      }
    }
    let name = try Names.temporary(in: directory)
    descriptor = try FileDescriptor.open(name, .createNew)
    neighbour = name
  }

  deinit {
    // Not published: whatever the reason, it goes. If that fails there is nobody to tell.
    if let neighbour { try? Names.remove(neighbour) }
  }

  /// `publish`, but a regular file is not replaced while somebody else is at work with it. Of
  /// `anything` that is not asked: dom0's QEMU has libxl's file for a state open all the time.
  mutating func publishUnlessInUse(
    replacing: Replaceable, isFlushed: Bool = false, isDurable: Bool = true
  ) throws(ToolError) {
    let old: ReplacedFile? = replacing == .regularFile ? try ReplacedFile(path) : nil
    do throws(SystemError) {
      try publish(replacing: replacing, isFlushed: isFlushed, isDurable: isDurable)
    } catch {
      throw ToolError(error, path)
    }
    if let old { old.end() }
  }

  /// Flushes the file, gives it its name and flushes the directory.
  ///
  /// - Parameters:
  ///   - replacing: what may have the name until now; it is replaced atomically. Anything else is an
  ///     error (EEXIST; of a directory EISDIR).
  ///   - isFlushed: the file has been flushed already.
  ///   - isDurable: nothing is flushed otherwise: for a file that a crash makes worthless anyway.
  public mutating func publish(
    replacing: Replaceable, isFlushed: Bool = false, isDurable: Bool = true
  ) throws(SystemError) {
    if isDurable && !isFlushed { try descriptor.flush() }
    if replacing == .nothing {
      if let neighbour {
        // link(2) never replaces, rename(2) does.
        try Names.link(neighbour, to: path)
      } else {
        try descriptor.link(to: path)
      }
    } else {
      // What has become of the name meanwhile, such as a device, is not replaced.
      if replacing == .regularFile,
        let kind = try? FileStatus.of(path, followingLinks: false).kind,
        kind != .regular && kind != .symbolicLink
      {
        throw SystemError(.renameat, errno: Errno.exists)
      }
      let name: SystemPath
      if let neighbour {
        name = neighbour
      } else {
        name = try Names.temporary(in: directory)
        try descriptor.link(to: name)
        neighbour = name
      }
      try Names.rename(name, to: path)
      neighbour = nil
    }
    if isDurable { try Names.flush(directory: directory) }
  }
}
