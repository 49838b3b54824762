import Decoding
import SaveDisk
import SaveFiles
import SystemIO
import TestSupport
import Transfer

// Save files of toolstacks, a target for each container.

@c(stubsave_fuzz_xl)
public func fuzzXL(_ bytes: UnsafePointer<UInt8>?, _ count: Int) {
  unsafe fuzz(.xl, bytes, count)
}

@c(stubsave_fuzz_libvirt)
public func fuzzLibvirt(_ bytes: UnsafePointer<UInt8>?, _ count: Int) {
  unsafe fuzz(.libvirt, bytes, count)
}

@c(stubsave_fuzz_libxl)
public func fuzzLibxl(_ bytes: UnsafePointer<UInt8>?, _ count: Int) {
  unsafe fuzz(.libxl, bytes, count)
}

@c(stubsave_fuzz_xenopsd)
public func fuzzXenopsd(_ bytes: UnsafePointer<UInt8>?, _ count: Int) {
  unsafe fuzz(.xenopsd, bytes, count)
}

private let maxStateBytes: UInt64 = 8192

/// What is said holds together, from a file and from a pipe alike.
@unsafe private func fuzz(
  _ format: SaveFileFormat, _ bytes: UnsafePointer<UInt8>?, _ count: Int
) {
  let input = unsafe Input(bytes, count)
  // Others are another target's.
  guard SaveFileFormat(input.span) == format else { return }
  let file = judge(Scratch.file(input.span), .list, input)
  let pipe = judge(Scratch.pipe(input.span), .list, input)
  require(file.verdict.problem == pipe.verdict.problem, "another verdict from a pipe")
  require(file.output == pipe.output, "another output from a pipe")
}

private func judge(
  _ source: consuming FileDescriptor, _ task: SaveFileTask, _ input: borrowing Input
) -> (verdict: SaveFileVerdict, output: [UInt8]) {
  var options = ReadOptions()
  options.limits = ReaderLimits(maxStateBytes: maxStateBytes)
  guard let memory = try? FileDescriptor.inMemory() else { finding("no file in memory") }
  let output = DoorOutput(memory)
  guard
    case .saveFile(let verdict) = SaveFileDoor.open(
      source, task: task, options: options, output: output),
    let written = try? output.file(isInOverflow: false).bytes(count: verdict.outputBytes)
  else { finding("no save file, or no output") }
  let total = UInt64(input.count)
  switch verdict.problem {
  case nil:
    require(verdict.facts.bytes + verdict.facts.bytesBehind == total, "of another length")
  case .container(.file(let error))?: check(error, inputBytes: total)
  case .container(let failure)?: finding("a failure: \(failure)")
  case .trailer(let error)?: check(error, inputBytes: input.count)
  }
  check(verdict, written, input)
  return (verdict, written)
}

private func check(_ error: SaveFileError, inputBytes: UInt64) {
  require(error.verdict != .good, "an error that is none")
  require(error.offset <= inputBytes, "an offset behind the input")
  require(error.field != .end || error.offset == inputBytes, "an end that is none")
  var text = PlainText()
  error.describe(into: &text)
  require(!text.bytes.isEmpty && text.bytes.count < 200, "a text of \(text.bytes.count) bytes")
  require(text.bytes.allSatisfy { $0 >= 0x20 && $0 < 0x7F }, "a text that is not plain")
}

/// State, entries and sections lie within the input.
private func check(_ verdict: SaveFileVerdict, _ output: [UInt8], _ input: borrowing Input) {
  let total = UInt64(input.count)
  if let state = verdict.facts.state {
    require(state.bytes == verdict.stateBytes, "a state of another length")
    require(state.recordOffset < state.offset, "a state before its record")
    require(state.offset + state.bytes <= total, "a state behind the end")
    let start = Int(state.offset)
    for index in 0..<Int(state.bytes) {
      require(output[index] == input.span.byte(at: start + index), "another state")
    }
  }
  let middle = Int(verdict.stateBytes)
  var last: UInt64?
  for start in stride(
    from: middle, to: middle + Int(verdict.entriesBytes), by: SaveFileEntry.byteCount)
  {
    let bytes = unsafe output.span.bytes.extracting(start..<(start + SaveFileEntry.byteCount))
    guard let entry = try? SaveFileEntry(parsing: bytes) else { finding("no entry") }
    require(last.map { entry.offset > $0 } ?? (entry.offset == 0), "entries in disorder")
    require(entry.offset < total && entry.bytes <= total - entry.offset, "an entry behind the end")
    last = entry.offset
  }
}

// Mutations: one that keeps the first bytes, and one of whole fields.

@c(stubsave_mutate_xl)
public func mutateXL(
  _ bytes: UnsafeMutablePointer<UInt8>, _ count: Int, _ room: Int, _ seed: UInt32
) -> Int { unsafe mutate(.xl, bytes, count, room, seed) }

@c(stubsave_mutate_libvirt)
public func mutateLibvirt(
  _ bytes: UnsafeMutablePointer<UInt8>, _ count: Int, _ room: Int, _ seed: UInt32
) -> Int { unsafe mutate(.libvirt, bytes, count, room, seed) }

@c(stubsave_mutate_libxl)
public func mutateLibxl(
  _ bytes: UnsafeMutablePointer<UInt8>, _ count: Int, _ room: Int, _ seed: UInt32
) -> Int { unsafe mutate(.libxl, bytes, count, room, seed) }

@c(stubsave_mutate_xenopsd)
public func mutateXenopsd(
  _ bytes: UnsafeMutablePointer<UInt8>, _ count: Int, _ room: Int, _ seed: UInt32
) -> Int { unsafe mutate(.xenopsd, bytes, count, room, seed) }

@unsafe private func mutate(
  _ format: SaveFileFormat, _ bytes: UnsafeMutablePointer<UInt8>, _ count: Int, _ room: Int,
  _ seed: UInt32
) -> Int {
  var generator = SeededGenerator(seed: UInt64(seed))
  var file = unsafe load(bytes, count)
  let magic = unsafe [UInt8](
    UnsafeBufferPointer(start: format.magic.utf8Start, count: format.magicBytes))
  if file.count < magic.count { resize(&file, to: magic.count) }
  file.replaceSubrange(0..<magic.count, with: magic)
  if generator.next() % 2 == 0 && file.count > magic.count {
    let fields = [FormatField(offset: 0, size: generator.next() % 4 == 0 ? 8 : 4)]
    // Records lie at multiples of 8 behind a header of any length: any place may be a field's.
    let at = magic.count + Int(generator.next() % UInt64(file.count - magic.count))
    Mutation.changeField(of: &file, fields, at: at, &generator)
  }
  return unsafe store(file, bytes, room)
}
