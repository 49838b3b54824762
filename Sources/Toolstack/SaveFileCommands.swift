import Decoding
import QEMUState
import SaveDisk
import SaveFiles
import SystemIO
import Transfer

extension DiskCommands {
  /// `extract`: QEMU's state, with its trailer, out of a toolstack's save file, to a file that appears
  /// only when all has been judged, or after that to standard output or something else that is
  /// no file.
  ///
  /// - Parameters:
  ///   - output: where to; "-" is standard output.
  ///   - spoolDirectory: for what does not fit into memory.
  ///   - requiresTrailer: a state without one is refused.
  ///   - isForced: an existing file is replaced.
  public static func extract(
    _ path: SystemPath, output: SystemPath, spoolDirectory: SystemPath, options: ReadOptions,
    requiresTrailer: Bool, isForced: Bool
  ) throws(ToolError) -> SaveFileJudgement {
    let input = try openInput(path)
    try requireOther(output, than: input)
    var target = try Output(output, isForced: isForced, opensNow: false)
    if target.isNewFile {
      let file = try target.descriptor()
      let (judgement, _) = try extract(
        path, input, to: DoorOutput(FileDescriptor(borrowing: file.number)), options,
        requiresTrailer, spoolDirectory, nil)
      // What follows the trailer is left out.
      if let bytes = judgement.state?.wholeBytes {
        try attempt(output) { () throws(SystemError) in try file.truncate(to: bytes) }
      }
      try target.publish()
      return judgement
    }
    var problem: SystemError?
    let held = try attempt(path) { () throws(SystemError) in
      try Spool.output(in: spoolDirectory, &problem)
    }
    let (judgement, isInOverflow) = try extract(
      path, input, to: held, options, requiresTrailer, spoolDirectory, problem)
    let descriptor = try target.descriptor()
    let bytes = judgement.state?.wholeBytes ?? judgement.state?.saved.bytes ?? 0
    try attempt(output) { () throws(SystemError) in
      try held.file(isInOverflow: isInOverflow).copy(bytes: bytes, to: descriptor)
    }
    return judgement
  }

  private static func extract(
    _ path: SystemPath, _ input: borrowing FileDescriptor, to output: borrowing DoorOutput,
    _ options: ReadOptions, _ requiresTrailer: Bool, _ spoolDirectory: SystemPath,
    _ problem: SystemError?
  ) throws(ToolError) -> (SaveFileJudgement, isInOverflow: Bool) {
    let shape = try attempt(path) { () throws(SystemError) in try InputShape(restOf: input) }
    switch DecoderProcess.judge(
      input, shape: shape, task: .extract, options: options, output: output)
    {
    case .disk(let verdict):
      throw ToolError(verdict.failure ?? .decoder(.nonsense), path)
    case .saveFile(let verdict):
      var judgement = SaveFileJudgement(path: path, verdict)
      judgement.blame(spoolDirectory, problem)
      if requiresTrailer { judgement.requireTrailer() }
      if let reason = judgement.reason {
        throw ToolError(judgement.status, path) { $0.append(reason) }
      }
      if judgement.state == nil {
        throw ToolError(.notFound, path) {
          $0.append(judgement.isUnverified ? "holds" : "is good, but holds")
          $0.append(" no state of QEMU's")
        }
      }
      return (judgement, verdict.isInOverflow)
    }
  }

  /// Fails if both are one file, or one block device.
  static func requireOther(
    _ output: SystemPath, than input: borrowing FileDescriptor
  ) throws(ToolError) {
    guard let given = try? input.status(),
      given.kind == .regular || given.kind == .blockDevice
    else { return }
    let isSame: Bool
    if let number = output.descriptor(hyphen: 1) {
      // One that is not open may have become the input's own number.
      guard InheritedDescriptor.isOpen(number) else { return }
      isSame = DiskCommands.isSame(FileDescriptor(borrowing: number), given)
    } else {
      isSame = (try? FileStatus.of(output))?.isSameFile(as: given) == true
    }
    if isSame { throw ToolError(.wouldDestroy, output) { $0.append("is the input itself") } }
  }

  public struct Wrapped: Sendable {
    /// Of the state, its trailer with it.
    public let stateBytes: UInt64
    /// Of the record.
    public let recordBytes: UInt64
    /// By its trailer.
    public let isVerified: Bool
    public let warnings: [PlainText]
  }

  /// `wrap`: a state as an EMULATOR_CONTEXT record, after its trailer has been judged; without what
  /// follows that.
  public static func wrap(
    _ path: SystemPath, output: SystemPath, spoolDirectory: SystemPath, options: ReadOptions,
    requiresTrailer: Bool, isForced: Bool
  ) throws(ToolError) -> Wrapped {
    let input = try openInput(path)
    try requireOther(output, than: input)
    var target = try Output(output, isForced: isForced, opensNow: false)
    let copy = try GivenState.privateCopy(of: input, path, options.limits, spoolDirectory)
    let finding = try requireState(copy, path, requiresTrailer, options)
    var warnings: [PlainText] = []
    let bytes: UInt64
    if let finding {
      bytes = finding.wholeBytes
      let remark = PlainText.remark(paddingBytes: finding.paddingBytes + copy.paddingBytes)
      if let remark { warnings.append(remark) }
    } else {
      bytes = copy.bytes
      warnings.append(.unverified)
    }
    guard bytes <= EmulatorContext.maxStateBytes else {
      throw ToolError(.overLimit, path) { $0.append("does not fit into a record") }
    }
    let header = EmulatorContext.header(stateBytes: bytes)
    let padding = [UInt8](
      repeating: 0, count: EmulatorContext.paddingBytes(stateBytes: bytes))
    let descriptor = try target.descriptor()
    try attempt(output) { () throws(SystemError) in
      try unsafe descriptor.writeAll(header.span.bytes)
      try copy.file.copy(bytes: bytes, to: descriptor)
      try unsafe descriptor.writeAll(padding.span.bytes)
    }
    try target.publish()
    return Wrapped(
      stateBytes: bytes,
      recordBytes: EmulatorContext.headerBytes + bytes + UInt64(padding.count),
      isVerified: finding != nil, warnings: warnings)
  }

  /// - Returns: what its trailer says; nil if it has none.
  private static func requireState(
    _ copy: borrowing Spool.Copy, _ path: SystemPath, _ requiresTrailer: Bool,
    _ options: ReadOptions
  ) throws(ToolError) -> StateFileFacts? {
    guard try attempt(path, { () throws(SystemError) in try copy.file.beginsWithQEMUMagic() })
    else {
      throw ToolError(.notASaveDisk, path) { $0.append("is no device state of QEMU's") }
    }
    let (finding, head, _) = try DecoderProcess.look(
      at: copy.file, path, bytes: copy.bytes, options: options, listsSections: false)
    let stateBytes: UInt64
    var found: StateFileFacts?
    switch finding {
    case .good(let facts):
      stateBytes = facts.stateBytes
      found = facts
    case .none:
      if requiresTrailer { throw ToolError(unverified: path, way: nil) }
      stateBytes = copy.bytes
    case .failed(let error): throw ToolError(.disk(error), path)
    case .unreadable(let error): throw ToolError(error, path)
    }
    if let error = head.error(path) { throw error }
    guard stateBytes <= options.limits.maxStateBytes else {
      throw .overMaxState(path, stateBytes: stateBytes, maxBytes: options.limits.maxStateBytes)
    }
    return found
  }
}
