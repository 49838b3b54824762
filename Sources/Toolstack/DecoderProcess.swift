import Decoding
import QEMUState
import SaveDisk
import SystemIO
import Transfer

/// The one door of dom0: what comes from a stubdomain is looked at by `stubsave-decode`, a process
/// that can do nothing else, and by nothing else.
///
/// A library that is not told to use the process does the same within this one, as the agent does.
enum DecoderProcess {
  /// `Door.open`, behind walls.
  ///
  /// - Parameter shape: nil is all of the input, from its start.
  static func open(
    _ input: borrowing FileDescriptor, shape: InputShape? = nil, task: DoorTask,
    options: ReadOptions, output: borrowing DoorOutput, progress: Progress? = nil
  ) -> DoorVerdict {
    answer(
      .door(task), input, shape, options, output, progress, failed: { DoorVerdict(failure: $0) },
      expected: { if case .door(let verdict) = $0 { verdict } else { nil } })
  }

  /// `Door.carry`, behind walls.
  static func carry(
    _ input: borrowing FileDescriptor, options: ReadOptions, output: borrowing DoorOutput
  ) -> (DoorVerdict, metadata: [UInt8]) {
    answer(
      .carry, input, nil, options, output, nil,
      failed: { (DoorVerdict(failure: $0), metadata: []) },
      expected: {
        guard case .carried(let verdict, let metadata) = $0 else { return nil }
        return (verdict, metadata: metadata)
      })
  }

  /// `SaveFileDoor.open`, behind walls.
  static func judge(
    _ input: borrowing FileDescriptor, shape: InputShape? = nil, task: SaveFileTask,
    options: ReadOptions, output: borrowing DoorOutput, progress: Progress? = nil
  ) -> Judged {
    // The decoder cannot look for holes; and what it is asked for here is all of a file.
    let given = (shape ?? (try? InputShape(of: input)))?.notingHole(of: input, options.limits)
    return answer(
      .saveFile(task), input, given, options, output, progress,
      failed: { .disk(DoorVerdict(failure: $0)) },
      expected: { if case .saveFile(let judged) = $0 { judged } else { nil } })
  }

  /// - Parameter expected: nil for an answer to another task.
  private static func answer<Answer>(
    _ task: DecodeTask, _ input: borrowing FileDescriptor, _ given: InputShape?,
    _ options: ReadOptions, _ output: borrowing DoorOutput, _ progress: Progress?,
    failed: (DoorFailure) -> Answer, expected: (DecodeAnswer) -> Answer?
  ) -> Answer {
    let shape: InputShape
    do throws(SystemError) {
      shape = if let given { given } else { try InputShape(of: input) }
    } catch {
      return failed(.input(error))
    }
    do throws(DecoderFailure) {
      return expected(try ask(task, input, shape, options, output, progress))
        ?? failed(.decoder(.nonsense))
    } catch {
      // Of what is brought to it, somebody else's side may fail.
      if case .system(let error) = error, error.call == .read { return failed(.input(error)) }
      return failed(.decoder(error))
    }
  }

  /// A state file: by its trailer, by its first bytes, and its sections if they are wanted.
  static func look(
    at file: borrowing FileDescriptor, _ path: SystemPath, bytes: UInt64, options: ReadOptions,
    listsSections: Bool
  ) throws(ToolError) -> (TrailerFinding, StateHead, [StateSection]) {
    let memory = try attempt(path) { () throws(SystemError) in try FileDescriptor.inMemory() }
    let output = DoorOutput(memory)
    let answer: DecodeAnswer
    do throws(DecoderFailure) {
      answer = try ask(
        .state(listsSections: listsSections), file,
        InputShape(partOfFileFrom: 0, bytes: bytes), options, output)
    } catch {
      throw ToolError(.decoder(error), path)
    }
    guard case .state(let finding, let head, let outputBytes) = answer else {
      throw ToolError(.decoder(.nonsense), path)
    }
    let list = try attempt(path) { () throws(SystemError) in
      try output.file(isInOverflow: false).bytes(count: outputBytes)
    }
    do throws(MessageError) {
      return (finding, head, try sections(list, stateBytes: bytes))
    } catch {
      throw ToolError(.decoder(.nonsense), path)
    }
  }

  static func sections(
    _ list: [UInt8], stateBytes: UInt64
  ) throws(MessageError) -> [StateSection] {
    var sections: [StateSection] = []
    for start in stride(from: 0, to: list.count, by: StateSection.messageBytes) {
      let entry = unsafe list.span.bytes.extracting(start..<(start + StateSection.messageBytes))
      sections.append(try StateSection(parsing: entry, stateBytes: stateBytes))
    }
    return sections
  }

  private static func ask(
    _ task: DecodeTask, _ input: borrowing FileDescriptor, _ shape: InputShape,
    _ options: ReadOptions, _ output: borrowing DoorOutput, _ progress: Progress? = nil
  ) throws(DecoderFailure) -> DecodeAnswer {
    let setting = DecoderSetting.current
    let request = DecodeRequest(
      task: task, options: options, shape: shape, maxFirstBytes: output.maxFirstBytes,
      hasOverflow: output.overflowNumber != nil, parent: Isolation.processNumber,
      requiresAllWalls: setting.requiresAllWalls, wantsNotes: progress != nil)
    let answer: DecodeAnswer
    switch setting.place {
    case .here:
      return Decoding.serve(request, input, output) { progress?.advance(by: $0) }
    case .missing:
      if setting.requiresAllWalls { throw .notFound }
      DecoderSetting.warnOfMissingProgram()
      return Decoding.serve(request, input, output) { progress?.advance(by: $0) }
    case .program(let program): answer = try run(program, request, input, output, progress)
    }
    try requireOutput(answer, request, output)
    return answer
  }
}
