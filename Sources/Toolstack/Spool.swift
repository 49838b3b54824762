import QEMUState
import SaveDisk
import SaveFiles
import SystemIO
import Transfer

/// Where bytes wait that nobody else may see: in memory, what is more in an unlinked file.
enum Spool {
  /// What is held back in memory; more goes to an unlinked file.
  static let maxBytesInMemory: UInt64 = 16 << 20

  /// For so many bytes.
  static func file(bytes: UInt64, in directory: SystemPath) throws(SystemError) -> FileDescriptor {
    bytes <= maxBytesInMemory
      ? try FileDescriptor.inMemory() : try FileDescriptor.unlinked(in: directory)
  }

  /// One stream of a disk, verified with all of it.
  struct Extracted: ~Copyable {
    private let output: DoorOutput
    let verdict: DoorVerdict
    /// The stream `metadata` beside the state; empty if there is none, or it was not asked for.
    let metadata: [UInt8]

    init(_ output: consuming DoorOutput, _ verdict: DoorVerdict, metadata: [UInt8] = []) {
      self.output = output
      self.verdict = verdict
      self.metadata = metadata
    }

    var bytes: UInt64 { verdict.outputBytes }

    /// The stream as a file, its offset at the start; open as long as this is there.
    func file() throws(SystemError) -> FileDescriptor {
      let file = output.file(verdict)
      try file.rewind()
      return file
    }
  }

  /// Holds back what the door gives: in memory first, then in an unlinked file.
  ///
  /// - Parameters:
  ///   - directory: one that cannot be used matters only when so much comes.
  ///   - problem: what is wrong with it.
  static func output(
    in directory: SystemPath, _ problem: inout SystemError?
  ) throws(SystemError) -> DoorOutput {
    let memory = try FileDescriptor.inMemory()
    var overflow: FileDescriptor?
    do throws(SystemError) {
      overflow = try FileDescriptor.unlinked(in: directory)
    } catch {
      problem = error
    }
    return DoorOutput(memory: memory, maxBytes: maxBytesInMemory, overflow: overflow.take())
  }

  /// - Parameters:
  ///   - path: names the disk in errors.
  ///   - directory: for what does not fit into memory. One that cannot be used matters only then.
  static func extract(
    _ stream: StreamName, from disk: borrowing FileDescriptor, _ shape: InputShape? = nil,
    _ path: SystemPath, _ options: ReadOptions, in directory: SystemPath,
    progress: Progress? = nil
  ) throws(ToolError) -> Extracted {
    let place = try Place(path, directory)
    let verdict = DecoderProcess.open(
      disk, shape: shape, task: .extract(stream), options: options, output: place.output,
      progress: progress)
    try place.requireGood(verdict)
    return place.holding(verdict, metadata: [])
  }

  /// The state and the metadata, in one look.
  static func carry(
    from disk: borrowing FileDescriptor, _ path: SystemPath, _ options: ReadOptions,
    in directory: SystemPath
  ) throws(ToolError) -> Extracted {
    let place = try Place(path, directory)
    let (verdict, metadata) = DecoderProcess.carry(disk, options: options, output: place.output)
    try place.requireGood(verdict)
    return place.holding(verdict, metadata: metadata)
  }

  /// For a state that is held back.
  private struct Place: ~Copyable {
    let output: DoorOutput
    private let disk: SystemPath
    private let directory: SystemPath
    /// Why there is only memory, if that is so.
    private let problem: SystemError?

    init(_ disk: SystemPath, _ directory: SystemPath) throws(ToolError) {
      var problem: SystemError?
      output = try attempt(disk) { () throws(SystemError) in
        try Spool.output(in: directory, &problem)
      }
      self.disk = disk
      self.directory = directory
      self.problem = problem
    }

    func requireGood(_ verdict: DoorVerdict) throws(ToolError) {
      if case .output? = verdict.failure, let problem {
        throw ToolError(ExitStatus(problem), directory) {
          $0.append("cannot hold a state of more than 16 MiB until it is verified: ")
          $0.append(problem)
        }
      }
      try DiskCommands.requireGood(verdict, disk, output: directory)
    }

    consuming func holding(_ verdict: DoorVerdict, metadata: [UInt8]) -> Extracted {
      Extracted(output, verdict, metadata: metadata)
    }
  }
}
