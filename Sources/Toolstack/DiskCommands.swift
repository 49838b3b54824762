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

  /// A disk cannot be written to standard output, or what else is open already: it is locked, read
  /// back and padded.
  static func requireName(_ path: SystemPath) throws(ToolError) {
    if path.isHyphen {
      throw ToolError(.usage, nil) {
        $0.append("a disk needs a file, not standard output; ./- is a file of that name")
      }
    }
    if let number = path.descriptor(hyphen: 1) {
      throw ToolError(.usage, path) {
        $0.append("a disk needs a file by its name, not the open file ")
        $0.append(UInt64(max(number, 0)))
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

  /// Of what looks like a regular file: that it is none of the kernel's own, to which a link in /dev
  /// may lead.
  static func requireOrdinary(_ path: SystemPath) throws(ToolError) {
    let isKernels = try attempt(path) { () throws(SystemError) in
      try FileDescriptor.openForLooking(path).isKernels()
    }
    if isKernels { throw ToolError(.wouldDestroy, path) { $0.append("is no file on a disk") } }
  }

  static func wouldDestroy(_ path: SystemPath) -> ToolError {
    ToolError(.wouldDestroy, path) { $0.append("exists; --force replaces it") }
  }

  /// Opens a disk for reading; "-" is standard input. What was open already is read from where it
  /// stands.
  static func openInput(_ path: SystemPath) throws(ToolError) -> FileDescriptor {
    if let number = path.descriptor(hyphen: 0) { return try openedInput(number, path) }
    if (try? FileStatus.of(path))?.kind == .fifo { return try openFIFO(path) }
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

  private static func openedInput(
    _ number: Int32, _ path: SystemPath
  ) throws(ToolError) -> FileDescriptor {
    let input = try inherited(number, path)
    let isDirectory = try attempt(path) { () throws(SystemError) in
      // What stands in a closed one's place is a directory too, and is not to be read.
      guard try input.flags().canRead else { return false }
      return try input.status().kind == .directory
    }
    if isDirectory { throw ToolError(SystemError(.read, errno: Errno.isDirectory), path) }
    let isThere = try attempt(path) { () throws(SystemError) in
      try input.awaitFirstWriter(until: DecoderSetting.deadline)
    }
    if !isThere { throw DecoderSetting.late(path, noWriter) }
    return input
  }

  /// A descriptor that this program was handed over.
  static func inherited(_ number: Int32, _ path: SystemPath) throws(ToolError) -> FileDescriptor {
    if InheritedDescriptor.isOpen(number) { return FileDescriptor(borrowing: number) }
    throw ToolError(.notFound, path) { $0.append("there is no such open file") }
  }

  private static func openFIFO(_ path: SystemPath) throws(ToolError) -> FileDescriptor {
    let input = try attempt(path) { () throws(SystemError) in
      try FileDescriptor.open(path, .readNonBlocking)
    }
    let isThere = try attempt(path) { () throws(SystemError) in
      try input.awaitWriter(until: DecoderSetting.deadline)
    }
    if !isThere { throw DecoderSetting.late(path, noWriter) }
    return input
  }

  private static let noWriter: StaticString = "nobody has opened it to write"

  /// The two are one: what is written to one shows in the other.
  static func isSame(_ left: borrowing FileDescriptor, _ right: FileStatus) -> Bool {
    (try? left.status())?.isSameFile(as: right) == true
  }
}

extension SystemPath {
  /// "-", which stands for standard input or output.
  public var isHyphen: Bool { bytes.elementsEqual([UInt8(ascii: "-")]) }

  /// The descriptor that is meant, if that was open before: "-", /dev/stdout, /dev/fd/N, and what
  /// else leads there.
  ///
  /// - Parameter standard: what "-" stands for.
  public func descriptor(hyphen standard: Int32) -> Int32? {
    isHyphen ? standard : InheritedDescriptor.number(of: self)
  }

  /// For reports: printable ASCII, other bytes as \xNN.
  public var text: String {
    var plain = PlainText()
    plain.append(escaping: bytes)
    return plain.text
  }
}
