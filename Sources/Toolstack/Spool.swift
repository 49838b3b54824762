import QEMUState
import SaveDisk
import SaveFiles
import SystemIO
import Transfer

/// Where bytes wait that nobody else may see: in memory, what is more in an unlinked file.
enum Spool {
  /// What is held back in memory; more goes to an unlinked file.
  static let maxBytesInMemory: UInt64 = 16 << 20

  /// A private copy, at whatever offset, and its length in bytes.
  struct Copy: ~Copyable {
    let file: FileDescriptor
    let bytes: UInt64
    /// Zeros at the input's end beyond `StateFile.keptZeroBytes`, which are not in the copy.
    let paddingBytes: UInt64

    consuming func takeFile() -> FileDescriptor { file }
  }

  /// A pipe must end somewhere.
  private static let maxPaddingBytes = SaveFileWalk.maxPaddingBytes

  /// For so many bytes.
  static func file(bytes: UInt64, in directory: SystemPath) throws(SystemError) -> FileDescriptor {
    bytes <= maxBytesInMemory
      ? try FileDescriptor.inMemory() : try FileDescriptor.unlinked(in: directory)
  }

  /// A private copy of everything that can be read from `input`, but for what it is filled up with.
  ///
  /// - Parameter maxBytes: more, without zeros at the end, is an error (EFBIG).
  /// - Throws: ETIMEDOUT if it takes longer than a look may.
  static func copy(
    of input: borrowing FileDescriptor, maxBytes: UInt64, in directory: SystemPath
  ) throws(SystemError) -> Copy {
    var file = try FileDescriptor.inMemory()
    var isInMemory = true
    var buffer = AlignedBuffer(byteCount: 262_144)
    /// What is in the copy, and zeros that come after that unless they are the last bytes.
    var (sum, zeros): (UInt64, UInt64) = (0, 0)
    let deadline = DecoderSetting.deadline
    var waits = false
    if deadline != nil { waits = try InputShape(of: input).kind == .stream }
    while true {
      // A file may be longer than anybody has time for.
      var isLate = deadline?.hasPassed == true
      if waits && !isLate { isLate = try !input.isReadable(by: deadline) }
      if isLate { throw SystemError(.read, errno: Errno.timedOut) }
      var piece = buffer.mutableBytes(0..<262_144)
      let count = try input.read(into: &piece, from: 0)
      if count == 0 { break }
      guard let last = buffer.bytes(0..<count).lastNonZero else {
        zeros += UInt64(count)
        if zeros > maxPaddingBytes { throw SystemError(.read, errno: Errno.fileTooLarge) }
        continue
      }
      let start = sum + zeros
      sum = start + UInt64(last) + 1
      zeros = UInt64(count - last - 1)
      if sum > maxBytes { throw SystemError(.read, errno: Errno.fileTooLarge) }
      if isInMemory && sum > maxBytesInMemory {
        let larger = try FileDescriptor.unlinked(in: directory)
        try file.copy(bytes: try file.status().bytes, to: larger)
        file = larger
        isInMemory = false
      }
      // Zeros before it become a hole.
      try file.writeAll(buffer.bytes(0..<(last + 1)), at: start)
    }
    let kept = min(zeros, StateFile.keptZeroBytes)
    try file.truncate(to: sum + kept)
    return Copy(file: file, bytes: sum + kept, paddingBytes: zeros - kept)
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
