import Decoding
import SaveDisk
import SystemIO
import Transfer

/// A disk as the door has judged it, for a report.
public struct Judgement: Sendable {
  public let path: SystemPath
  public let status: ExitStatus
  /// Nil if the input could not be opened.
  public let verdict: DoorVerdict?
  /// Why it is not good, in one line without the path.
  public let reason: PlainText?

  /// The path and the reason, in one line.
  public var complaint: PlainText {
    var text = PlainText()
    text.append(escaping: path.bytes)
    text.append(": ")
    if let reason { text.append(reason) }
    return text
  }
}

/// What has been found in a file: a save disk, or something that is judged as one, or a toolstack's
/// save file.
public enum Finding: Sendable {
  case disk(Judgement)
  case saveFile(SaveFileJudgement)

  public var status: ExitStatus {
    switch self {
    case .disk(let judgement): judgement.status
    case .saveFile(let judgement): judgement.status
    }
  }

  /// The path and the reason, in one line.
  public var complaint: PlainText {
    switch self {
    case .disk(let judgement): judgement.complaint
    case .saveFile(let judgement): judgement.complaint
    }
  }
}

extension DiskCommands {
  /// `verify` of one path: never fails, the finding says what was found.
  ///
  /// - Parameters:
  ///   - spoolDirectory: for a state that does not fit into memory.
  ///   - requiresTrailer: a state without one is incomplete.
  public static func verify(
    _ path: SystemPath, options: ReadOptions, spoolDirectory: SystemPath,
    requiresTrailer: Bool = false, progress: Progress? = nil
  ) -> Finding {
    do throws(ToolError) {
      let input = try openInput(path)
      var problem: SystemError?
      let output = try attempt(path) { () throws(SystemError) in
        try Spool.output(in: spoolDirectory, &problem)
      }
      let shape = try attempt(path) { () throws(SystemError) in try InputShape(restOf: input) }
      let judged = DecoderProcess.judge(
        input, shape: shape, task: .verify, options: options, output: output, progress: progress)
      switch judged {
      case .disk(let verdict): return .disk(Judgement(path: path, verdict: verdict))
      case .saveFile(let verdict):
        var judgement = SaveFileJudgement(path: path, verdict)
        judgement.blame(spoolDirectory, problem)
        if requiresTrailer { judgement.requireTrailer() }
        return .saveFile(judgement)
      }
    } catch {
      return .disk(
        Judgement(path: path, status: error.status, verdict: nil, reason: error.reason))
    }
  }

  /// `inspect`: the finding, and every record of a disk that came before its end. A whole migration
  /// stream that is no larger than a state may be is good.
  public static func inspect(
    _ path: SystemPath, options: ReadOptions, spoolDirectory: SystemPath
  ) throws(ToolError) -> (Finding, [RecordEntry]) {
    let input = try openInput(path)
    var problem: SystemError?
    let output = try attempt(path) { () throws(SystemError) in
      try Spool.output(in: spoolDirectory, &problem)
    }
    let shape = try attempt(path) { () throws(SystemError) in try InputShape(restOf: input) }
    switch DecoderProcess.judge(
      input, shape: shape, task: .list, options: options, output: output)
    {
    case .disk(let verdict):
      let entries = try attempt(path) { () throws(SystemError) in
        try recordEntries(output.file(verdict), bytes: verdict.outputBytes)
      }
      return (.disk(Judgement(path: path, verdict: verdict)), entries)
    case .saveFile(let verdict):
      var judgement = try SaveFileJudgement(path: path, verdict, lists: output)
      judgement.blame(spoolDirectory, problem)
      judgement.takeMigrationStream()
      return (.saveFile(judgement), [])
    }
  }

  private static func recordEntries(
    _ list: borrowing FileDescriptor, bytes: UInt64
  ) throws(SystemError) -> [RecordEntry] {
    var entries: [RecordEntry] = []
    var buffer = AlignedBuffer(byteCount: RecordEntry.byteCount)
    var offset: UInt64 = 0
    while offset + UInt64(RecordEntry.byteCount) <= bytes {
      var target = buffer.mutableBytes(0..<RecordEntry.byteCount)
      guard try list.read(into: &target, from: 0, at: offset) == RecordEntry.byteCount else {
        throw SystemError(.pread, errno: Errno.ioError)
      }
      entries.append(RecordEntry(parsing: buffer.bytes(0..<RecordEntry.byteCount)))
      offset += UInt64(RecordEntry.byteCount)
    }
    return entries
  }
}

extension Judgement {
  init(path: SystemPath, verdict: DoorVerdict) {
    var reason: PlainText?
    var status = ExitStatus.good
    if let failure = verdict.failure {
      var text = PlainText()
      text.append(failure)
      reason = text
      status = ExitStatus(failure)
    }
    self.init(path: path, status: status, verdict: verdict, reason: reason)
  }
}
