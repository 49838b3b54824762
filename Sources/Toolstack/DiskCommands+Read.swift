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
    let overflow = try attempt(spoolDirectory) { () throws(SystemError) in
      try FileDescriptor.unnamed(in: spoolDirectory)
    }
    let spool = DoorOutput(memory: memory, maxBytes: maxSpoolBytesInMemory, overflow: overflow)
    let verdict = Door.open(input, task: .extract(stream), options: options, output: spool)
    try requireGood(verdict, path, output: spoolDirectory)
    try attempt(output) { () throws(SystemError) in
      let target =
        output.isStandardStream
        ? FileDescriptor.standardOutput : try FileDescriptor.open(output, .writeExisting)
      try spool.copy(verdict, to: target)
    }
    return verdict
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
