import QEMUState
import SaveDisk
import SystemIO
import Transfer
import ZstdCodec

/// Does what a request says, in this process: what the decoder's process does behind its walls.
public enum Decoding {
  /// - Parameters:
  ///   - input: only read, at offsets; a pipe forward.
  ///   - output: empty.
  ///   - advanced: is told of the bytes of a disk that have been gone through.
  public static func serve(
    _ request: DecodeRequest, _ input: borrowing FileDescriptor, _ output: borrowing DoorOutput,
    advanced: ((Int) -> Void)? = nil
  ) -> DecodeAnswer {
    switch request.task {
    case .door(let task):
      return .door(
        Door.open(
          input, shape: request.shape, task: task, options: request.options, output: output,
          resources: .dom0(advanced: advanced)))
    case .carry:
      let (verdict, metadata) = Door.carry(
        input, shape: request.shape, options: request.options, output: output,
        resources: .dom0(advanced: advanced))
      return .carried(verdict, metadata: metadata)
    case .state(let listsSections):
      let bytes = request.shape.totalBytes ?? 0
      let finding = StateFile.check(input, bytes: bytes, options: request.options)
      if !listsSections { return .state(finding, outputBytes: 0) }
      do throws(SystemError) {
        return .state(finding, outputBytes: try list(input, finding, bytes, output))
      } catch {
        return .state(.unreadable(error), outputBytes: 0)
      }
    }
  }

  private static func list(
    _ input: borrowing FileDescriptor, _ finding: TrailerFinding, _ fileBytes: UInt64,
    _ output: borrowing DoorOutput
  ) throws(SystemError) -> UInt64 {
    var count = Int(clamping: fileBytes)
    if case .good(let facts) = finding { count = Int(clamping: facts.stateBytes) }
    if count == 0 { return 0 }
    var state = AlignedBuffer(byteCount: count)
    try StateFile.read(input, at: 0, into: &state, count: count)
    var entries: [UInt8] = []
    for section in SectionList.scan(state.bytes(0..<count)) { section.encode(into: &entries) }
    try unsafe output.file(isInOverflow: false).writeAll(entries.span.bytes)
    return UInt64(entries.count)
  }
}
