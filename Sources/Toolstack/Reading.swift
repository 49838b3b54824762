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

extension DiskCommands {
  /// `verify` of one path: never fails, the judgement says what was found.
  public static func verify(
    _ path: SystemPath, options: ReadOptions, progress: Progress? = nil
  ) -> Judgement {
    do throws(ToolError) {
      let input = try openInput(path)
      let verdict = DecoderProcess.open(
        input, task: .verify, options: options, output: .nowhere, progress: progress)
      return Judgement(path: path, verdict: verdict)
    } catch {
      return Judgement(path: path, status: error.status, verdict: nil, reason: error.reason)
    }
  }

  /// `inspect`: the judgement, and every record that came before its end.
  public static func inspect(
    _ path: SystemPath, options: ReadOptions
  ) throws(ToolError) -> (Judgement, [RecordEntry]) {
    let input = try openInput(path)
    let memory = try attempt(path) { () throws(SystemError) in try FileDescriptor.inMemory() }
    let number = memory.number
    let output = DoorOutput(memory)
    let verdict = DecoderProcess.open(input, task: .list, options: options, output: output)
    // The output's descriptor is open as long as `output` is.
    let entries = try attempt(path) { () throws(SystemError) in
      try recordEntries(FileDescriptor(borrowing: number), bytes: verdict.outputBytes)
    }
    _ = consume output
    return (Judgement(path: path, verdict: verdict), entries)
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
