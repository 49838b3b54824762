import Decoding
import SaveDisk
import SystemIO
import Transfer

/// Entry from main.c: reads what is asked, builds the walls, says which stand, and only then looks
/// at the input.
///
/// - Returns: the exit code, which tells nothing that the answer does not.
@c(stubsave_decode_main)
public func decodeMain() -> Int32 {
  guard let request = readRequest() else {
    // Somebody has called it by hand.
    var text = PlainText()
    text.append("stubsave-decode: stubsave starts this; it has no use alone\n")
    try? unsafe FileDescriptor(borrowing: 2).writeAll(text.bytes.span.bytes)
    return Int32(ExitStatus.usage.rawValue)
  }
  do throws(SystemError) {
    let answer = FileDescriptor(borrowing: DecodeRequest.File.answer)
    let walls = try Walls.build(for: request)
    try unsafe answer.writeAll(DecoderGreeting.encode(walls).span.bytes)
    if request.requiresAllWalls && walls != .all { return Int32(ExitStatus.permission.rawValue) }
    let verdict = serve(request)
    if request.wantsNotes { try unsafe answer.writeAll(DecodeNote.answer.encode().span.bytes) }
    try unsafe answer.writeAll(verdict.encode().span.bytes)
    return Int32(ExitStatus.good.rawValue)
  } catch {
    return Int32(ExitStatus(error).rawValue)
  }
}

/// Nil if there is none, or it is not understood.
private func readRequest() -> DecodeRequest? {
  let source = FileDescriptor(owning: DecodeRequest.File.request)
  var buffer = AlignedBuffer(byteCount: DecodeRequest.messageBytes)
  var target = buffer.mutableBytes(0..<DecodeRequest.messageBytes)
  // A pipe gives at once what was written at once.
  guard (try? source.read(into: &target, from: 0)) == DecodeRequest.messageBytes else {
    return nil
  }
  return try? DecodeRequest(parsing: buffer.bytes(0..<DecodeRequest.messageBytes))
}

private func serve(_ request: DecodeRequest) -> DecodeAnswer {
  let input = FileDescriptor(borrowing: DecodeRequest.File.input)
  let first = FileDescriptor(borrowing: DecodeRequest.File.output)
  let overflow: FileDescriptor? =
    request.hasOverflow ? FileDescriptor(borrowing: DecodeRequest.File.overflow) : nil
  let output = DoorOutput(
    memory: first, maxBytes: request.maxFirstBytes ?? .max, overflow: overflow)
  if !request.wantsNotes { return Decoding.serve(request, input, output) }
  var doneBytes: UInt64 = 0
  var notedBytes: UInt64 = 0
  let answer = Decoding.serve(request, input, output) { count in
    doneBytes += UInt64(count)
    guard doneBytes - notedBytes >= DecodeNote.intervalBytes else { return }
    notedBytes = doneBytes
    tell(doneBytes)
  }
  // What has come since: the last that is told is to be all.
  if doneBytes != notedBytes { tell(doneBytes) }
  return answer
}

private func tell(_ doneBytes: UInt64) {
  let note = DecodeNote.progress(doneBytes: doneBytes).encode()
  // Nobody has to hear it.
  try? unsafe FileDescriptor(borrowing: DecodeRequest.File.answer).writeAll(note.span.bytes)
}
