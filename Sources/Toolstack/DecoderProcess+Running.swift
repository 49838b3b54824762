import Decoding
import SaveDisk
import SaveFiles
import SystemIO
import Transfer

extension DecoderProcess {
  /// Starts the program, hears which walls stand, and takes its answer once it has ended: from then
  /// on nobody changes what it has written.
  static func run(
    _ program: SystemPath, _ request: DecodeRequest, _ input: borrowing FileDescriptor,
    _ output: borrowing DoorOutput, _ progress: Progress?
  ) throws(DecoderFailure) -> DecodeAnswer {
    var process = try start(program, request, input, output)
    let greeting = try message(&process, byteCount: DecoderGreeting.messageBytes)
    guard let walls = try? unsafe DecoderGreeting.parse(greeting.span.bytes) else {
      throw .nonsense
    }
    if walls != .all {
      if request.requiresAllWalls { throw .withoutWalls(walls.missing.bits) }
      DecoderSetting.warn(ofMissing: walls.missing)
    }
    try hearNotes(&process, request, progress)
    let answer = try message(
      &process, byteCount: DecodeAnswer.messageBytes(request.task))
    _ = try attempt { () throws(SystemError) in try process.finish(kills: true) }
    do throws(MessageError) {
      return try unsafe DecodeAnswer(parsing: answer.span.bytes, to: request)
    } catch {
      throw .nonsense
    }
  }

  /// What it says before its answer, if it was asked to.
  private static func hearNotes(
    _ process: inout IsolatedProcess, _ request: DecodeRequest, _ progress: Progress?
  ) throws(DecoderFailure) {
    guard request.wantsNotes else { return }
    // A toolstack's file has the guest's memory in it, of which there is no limit.
    var maxBytes = request.shape.totalBytes ?? .max
    if case .door = request.task { maxBytes = min(maxBytes, request.options.limits.maxDiskBytes) }
    while true {
      let bytes = try message(&process, byteCount: DecodeNote.messageBytes)
      guard let note = try? unsafe DecodeNote(parsing: bytes.span.bytes, maxBytes: maxBytes) else {
        throw .nonsense
      }
      switch note {
      case .answer: return
      case .progress(let doneBytes): progress?.advance(to: doneBytes)
      }
    }
  }

  private static func start(
    _ program: SystemPath, _ request: DecodeRequest, _ input: borrowing FileDescriptor,
    _ output: borrowing DoorOutput
  ) throws(DecoderFailure) -> IsolatedProcess {
    let message = request.encode()
    return try attempt { () throws(SystemError) in
      var input = try DecoderInput.make(of: input, request.shape)
      let files = [input.number, output.firstNumber, output.overflowNumber ?? -1]
      return try unsafe IsolatedProcess.start(
        program, name: SystemPath(word: "stubsave-decode"), files: files,
        request: message.span.bytes, pump: input.takePump(), until: DecoderSetting.deadline)
    }
  }

  /// A whole message.
  ///
  /// - Throws: how the process has ended if it has said less.
  private static func message(
    _ process: inout IsolatedProcess, byteCount: Int
  ) throws(DecoderFailure) -> [UInt8] {
    let end: ChildEnd
    do throws(SystemError) {
      let bytes = try process.message(byteCount: byteCount)
      if bytes.count == byteCount { return bytes }
      end = try process.finish(kills: false)
    } catch {
      switch error.errno {
      case Errno.timedOut: throw .deadline
      case Errno.interrupted: throw .interrupted
      default: throw .system(error)
      }
    }
    switch end {
    case .exited(let code): throw .exited(code)
    case .signal(let number): throw .signal(number)
    }
  }

  /// Whether the output has what the answer says, where anybody is going to use it.
  static func requireOutput(
    _ answer: DecodeAnswer, _ request: DecodeRequest, _ output: borrowing DoorOutput
  ) throws(DecoderFailure) {
    let bytes: UInt64
    var isInOverflow = false
    switch (answer, request.task) {
    case (_, .door(.verify)), (_, .state(listsSections: false)): return
    case (.door(let verdict), .door(let task)):
      if verdict.failure != nil {
        guard case .list = task else { return }
      }
      bytes = verdict.outputBytes
      isInOverflow = verdict.isInOverflow
    case (.carried(let verdict, _), .carry):
      if verdict.failure != nil { return }
      bytes = verdict.outputBytes
      isInOverflow = verdict.isInOverflow
    case (.state(_, _, let outputBytes), .state): bytes = outputBytes
    case (.saveFile(.disk(let verdict)), .saveFile(let task)):
      guard case .list = task else { return }
      bytes = verdict.outputBytes
      isInOverflow = verdict.isInOverflow
    case (.saveFile(.saveFile(let verdict)), .saveFile):
      if case .output? = verdict.failure { return }
      bytes = verdict.outputBytes
      isInOverflow = verdict.isInOverflow
    default: throw .nonsense
    }
    let status = try attempt { () throws(SystemError) in
      try output.file(isInOverflow: isInOverflow).status()
    }
    guard status.kind == .regular && status.bytes == bytes else { throw .nonsense }
  }

  private static func attempt<R: ~Copyable>(
    _ body: () throws(SystemError) -> R
  ) throws(DecoderFailure) -> R {
    do throws(SystemError) { return try body() } catch { throw .system(error) }
  }
}
