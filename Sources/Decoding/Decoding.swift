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
      var head = StateHead.unseen
      do throws(SystemError) {
        head = try StateHead(of: input, stateBytes: finding.stateBytes(ofFile: bytes))
        if !listsSections { return .state(finding, head, outputBytes: 0) }
        let list = try sections(input, finding, bytes)
        try unsafe output.file(isInOverflow: false).writeAll(list.span.bytes)
        return .state(finding, head, outputBytes: UInt64(list.count))
      } catch {
        return .state(.unreadable(error), head, outputBytes: 0)
      }
    case .saveFile(let task):
      return .saveFile(
        SaveFileDoor.open(
          input, shape: request.shape, task: task, options: request.options, output: output,
          resources: .dom0(advanced: advanced)))
    }
  }

  /// The sections of a state file, as messages have them.
  static func sections(
    _ input: borrowing FileDescriptor, _ finding: TrailerFinding, _ fileBytes: UInt64
  ) throws(SystemError) -> [UInt8] {
    let count = Int(clamping: finding.stateBytes(ofFile: fileBytes))
    if count == 0 { return [] }
    var state = AlignedBuffer(byteCount: count)
    try StateFile.read(input, at: 0, into: &state, count: count)
    var list: [UInt8] = []
    for section in SectionList.scan(state.bytes(0..<count)) { section.encode(into: &list) }
    return list
  }
}
