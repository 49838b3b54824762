import SaveDisk
import SystemIO
import Transfer

extension DiskCommands {
  /// `read`: one stream of a disk, to a file that appears only when everything has been verified,
  /// or to standard output or something else that exists and is no file, after that.
  ///
  /// - Parameters:
  ///   - output: where to; "-" is standard output.
  ///   - spoolDirectory: for what does not fit into memory.
  ///   - isForced: an existing file is replaced.
  ///   - progress: is told of the bytes of the disk that have been gone through.
  public static func read(
    _ path: SystemPath, stream: StreamName, output: SystemPath, spoolDirectory: SystemPath,
    options: ReadOptions, isForced: Bool, progress: Progress? = nil
  ) throws(ToolError) -> DoorVerdict {
    let input = try openInput(path)
    try requireOther(output, than: input)
    let shape = try attempt(path) { () throws(SystemError) in try InputShape(restOf: input) }
    var target = try Output(output, isForced: isForced, opensNow: false)
    if target.isNewFile {
      let file = try target.descriptor()
      let verdict = DecoderProcess.open(
        input, shape: shape, task: .extract(stream), options: options, output: DoorOutput(file),
        progress: progress)
      try requireGood(verdict, path, output: output)
      try target.publish()
      return verdict
    }
    let extracted = try Spool.extract(
      stream, from: input, shape, path, options, in: spoolDirectory, progress: progress)
    let descriptor = try target.descriptor()
    try attempt(output) { () throws(SystemError) in
      try extracted.file().copy(bytes: extracted.bytes, to: descriptor)
    }
    return extracted.verdict
  }

  static func requireGood(
    _ verdict: DoorVerdict, _ path: SystemPath, output: SystemPath
  ) throws(ToolError) {
    switch verdict.failure {
    case nil: return
    case .output(let error)?: throw ToolError(error, output)
    case let failure?: throw ToolError(failure, path)
    }
  }
}
