import SaveDisk
import SystemIO
import Transfer

extension DiskCommands {
  /// What is held back in memory until all is verified; more goes to an unlinked file.
  private static let maxSpoolBytesInMemory: UInt64 = 16 << 20

  /// `read`: one stream of a disk, to a file that appears only when everything has been verified,
  /// or to standard output or something else that exists and is no file, after that.
  ///
  /// - Parameters:
  ///   - output: where to; "-" is standard output.
  ///   - spoolDirectory: for what does not fit into memory.
  ///   - isForced: an existing file is replaced.
  public static func read(
    _ path: SystemPath, stream: StreamName, output: SystemPath, spoolDirectory: SystemPath,
    options: ReadOptions, isForced: Bool
  ) throws(ToolError) -> DoorVerdict {
    let kind = output.isStandardStream ? FileStatus.Kind.other : try existing(output)
    let input = try openInput(path)
    if kind == .regular, let given = try? input.status(),
      let status = try? FileStatus.of(output), given.isSameFile(as: status)
    {
      throw ToolError(.wouldDestroy, output) { $0.append("is the disk itself") }
    }
    switch kind {
    case nil,
      .regular? where isForced:
      return try readToFile(
        input, path, stream: stream, output: output, options: options, isReplacing: kind != nil)
    case .regular?: throw wouldDestroy(output)
    case .directory?:
      throw ToolError(.wouldDestroy, output) { $0.append("is a directory") }
    case .blockDevice?:
      throw ToolError(.wouldDestroy, output) { $0.append("is a block device") }
    default:
      return try readToStream(
        input, path, stream: stream, output: output, spoolDirectory: spoolDirectory,
        options: options)
    }
  }

  private static func readToFile(
    _ input: borrowing FileDescriptor, _ path: SystemPath, stream: StreamName,
    output: SystemPath, options: ReadOptions, isReplacing: Bool
  ) throws(ToolError) -> DoorVerdict {
    var file = try attempt(output) { () throws(SystemError) in try NewFile(for: output) }
    let verdict = Door.open(
      input, task: .extract(stream), options: options,
      output: DoorOutput(FileDescriptor(borrowing: file.descriptor.number)))
    try requireGood(verdict, path, output: output)
    try attempt(output) { () throws(SystemError) in try file.publish(isReplacing: isReplacing) }
    return verdict
  }

  private static func readToStream(
    _ input: borrowing FileDescriptor, _ path: SystemPath, stream: StreamName,
    output: SystemPath, spoolDirectory: SystemPath, options: ReadOptions
  ) throws(ToolError) -> DoorVerdict {
    let memory = try attempt(output) { () throws(SystemError) in try FileDescriptor.inMemory() }
    // A directory that cannot be used matters only to a state that does not fit into memory.
    var overflow: FileDescriptor?
    var unusable: SystemError?
    do throws(SystemError) {
      overflow = try FileDescriptor.unlinked(in: spoolDirectory)
    } catch {
      unusable = error
    }
    let spool = DoorOutput(
      memory: memory, maxBytes: maxSpoolBytesInMemory, overflow: overflow.take())
    let verdict = Door.open(input, task: .extract(stream), options: options, output: spool)
    if case .output? = verdict.failure, let unusable {
      throw ToolError(ExitStatus(unusable), spoolDirectory) {
        $0.append("cannot hold a state of more than 16 MiB until it is verified: ")
        $0.append(unusable)
      }
    }
    try requireGood(verdict, path, output: spoolDirectory)
    if output.isStandardStream {
      try attempt(output) { () throws(SystemError) in
        try spool.copy(verdict, to: .standardOutput)
      }
      return verdict
    }
    let target = try openExisting(output)
    try attempt(output) { () throws(SystemError) in try spool.copy(verdict, to: target) }
    return verdict
  }

  /// Something that is written in place, such as a FIFO. It may have become a file since it was
  /// looked at; that is not written to.
  private static func openExisting(_ output: SystemPath) throws(ToolError) -> FileDescriptor {
    let target = try attempt(output) { () throws(SystemError) in
      try FileDescriptor.open(output, .writeExisting)
    }
    let status = try attempt(output) { () throws(SystemError) in try target.status() }
    switch status.kind {
    case .regular, .blockDevice, .directory: throw wouldDestroy(output)
    default: return target
    }
  }

  private static func requireGood(
    _ verdict: DoorVerdict, _ path: SystemPath, output: SystemPath
  ) throws(ToolError) {
    switch verdict.failure {
    case nil: return
    case .output(let error)?: throw ToolError(error, output)
    case let failure?: throw ToolError(failure, path)
    }
  }
}
