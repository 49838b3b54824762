// Invariants:
// - a request, a greeting and an answer arrive as they were sent;
// - whatever bytes a decoder in an attacker's hands sends, the parent neither traps nor believes
//   more than a limit lets it: every flipped bit, every length, random messages;
// - what the decoder does with a request is what the door does within this process.

import Codecs
import Decoding
import SaveDisk
import SaveFiles
import SystemIO
import TestSupport
import Testing
import Transfer

@testable import QEMUState

@Suite struct MessageTests {
  private static func request(
    _ task: DecodeTask, _ shape: InputShape, overflow: Bool = false
  ) -> DecodeRequest {
    var options = ReadOptions()
    options.limits = ReaderLimits(maxStateBytes: 1 << 20)
    options.acceptedCodecs = CodecSet(.none, .zeros, .lz4)
    return DecodeRequest(
      task: task, options: options, shape: shape, maxFirstBytes: overflow ? 4096 : nil,
      hasOverflow: overflow, parent: 4711, requiresAllWalls: overflow)
  }

  private static let tasks: [DecodeTask] = [
    .door(.verify), .door(.extract(.qemu)), .door(.extract(.metadata)), .door(.list),
    .state(listsSections: false), .state(listsSections: true), .carry,
    .saveFile(.verify), .saveFile(.list), .saveFile(.extract),
  ]

  @Test(arguments: tasks.indices) func `a request arrives`(index: Int) throws {
    let whole = InputShape(partOfFileFrom: 4096, bytes: 123_456)
    for overflow in [false, true] {
      let shape = overflow ? whole.with(hole: 4096..<123_456) : whole
      let sent = Self.request(Self.tasks[index], shape, overflow: overflow)
      let bytes = sent.encode()
      #expect(bytes.count == DecodeRequest.messageBytes)
      let found = try DecodeRequest(parsing: bytes.rawSpan)
      #expect(found.encode() == bytes)
      #expect(found.shape == shape && found.parent == 4711)
      #expect(found.requiresAllWalls == overflow && found.hasOverflow == overflow)
      #expect(found.options.limits.maxStateBytes == 1 << 20)
      #expect(found.maxOutputBytes == sent.maxOutputBytes)
    }
  }

  @Test func `a damaged request is refused or is another request`() {
    let shape = InputShape(partOfFileFrom: 0, bytes: 4096).with(hole: 512..<4096)
    let bytes = Self.request(.door(.list), shape).encode()
    for bit in 0..<(8 * bytes.count) {
      var damaged = bytes
      damaged[bit / 8] ^= 1 << UInt8(bit % 8)
      guard let found = try? DecodeRequest(parsing: damaged.rawSpan) else { continue }
      // ReaderLimits has a limit of its own.
      #expect(found.encode() == damaged || bit / 8 >= 16 && bit / 8 < 24)
    }
    for count in 0..<bytes.count {
      #expect(throws: MessageError.self) {
        try DecodeRequest(parsing: [UInt8](bytes[..<count]).rawSpan)
      }
    }
  }

  @Test func `a greeting arrives`() throws {
    var walls = WallSet()
    for wall in Wall.allCases {
      walls.insert(wall)
      let bytes = DecoderGreeting.encode(walls)
      #expect(bytes.count == DecoderGreeting.messageBytes)
      #expect(try DecoderGreeting.parse(bytes.rawSpan) == walls)
    }
    #expect(walls == .all && walls.missing.isEmpty)
    #expect(WallSet(bits: 1 << 9) == nil)
  }

  @Test func `a note arrives, and no other`() throws {
    for note in [DecodeNote.answer, .progress(doneBytes: 0), .progress(doneBytes: 4096)] {
      let bytes = note.encode()
      #expect(bytes.count == DecodeNote.messageBytes)
      #expect(try DecodeNote(parsing: bytes.rawSpan, maxBytes: 4096) == note)
      for bit in 0..<(8 * bytes.count) {
        var damaged = bytes
        damaged[bit / 8] ^= 1 << UInt8(bit % 8)
        if let found = try? DecodeNote(parsing: damaged.rawSpan, maxBytes: 4096) {
          #expect(found != note && found.encode() == damaged)
        }
      }
      #expect(throws: MessageError.self) {
        try DecodeNote(parsing: [UInt8](bytes.dropLast()).rawSpan, maxBytes: 4096)
      }
    }
    let far = DecodeNote.progress(doneBytes: 4097).encode()
    #expect(throws: MessageError.self) { try DecodeNote(parsing: far.rawSpan, maxBytes: 4096) }
  }

  @Test func `who serves tells how far it is`() throws {
    let disk = try Self.disk()
    let input = try MemoryFile(disk)
    let request = Self.request(
      .door(.verify), InputShape(partOfFileFrom: 0, bytes: UInt64(disk.count)))
    var bytes = 0
    let answer = Decoding.serve(request, input.descriptor, .nowhere) { bytes += $0 }
    guard case .door(let verdict) = answer else {
      Issue.record("another answer")
      return
    }
    #expect(verdict.failure == nil)
    #expect(UInt64(bytes) == verdict.facts.diskBytes)
  }

  /// Serves a request within this process, as the decoder does.
  private static func answer(
    _ bytes: [UInt8], _ task: DecodeTask
  ) throws -> (request: DecodeRequest, answer: [UInt8]) {
    let input = try MemoryFile(bytes)
    let request = Self.request(task, InputShape(partOfFileFrom: 0, bytes: UInt64(bytes.count)))
    let output = DoorOutput(try FileDescriptor.inMemory())
    let answer = Decoding.serve(request, input.descriptor, output).encode()
    #expect(answer.count == DecodeAnswer.messageBytes(task))
    return (request, answer)
  }

  private static func disk() throws -> [UInt8] { try #require(try SmallDisk.all().first).bytes }

  @Test func `an answer arrives`() throws {
    let (request, bytes) = try Self.answer(try Self.disk(), .door(.extract(.qemu)))
    let answer = try DecodeAnswer(parsing: bytes.rawSpan, to: request)
    #expect(answer.encode() == bytes)
    guard case .door(let verdict) = answer else {
      Issue.record("another answer")
      return
    }
    #expect(verdict.failure == nil && verdict.facts.summary(of: .qemu) != nil)
    #expect(verdict.outputBytes == verdict.facts.summary(of: .qemu)?.rawBytes)
  }

  @Test func `state and metadata arrive in one answer`() throws {
    let (state, said) = ([UInt8](repeating: 7, count: 100_000), [UInt8]("qemu 7.2.22\n".utf8))
    for streams: [(StreamName, [UInt8])] in [
      [(.qemu, state), (.metadata, said)], [(.metadata, said), (.qemu, state)], [(.qemu, state)],
    ] {
      let (request, bytes) = try Self.answer(try makeDisk(streams), .carry)
      guard
        case .carried(let verdict, let metadata) = try DecodeAnswer(
          parsing: bytes.rawSpan, to: request)
      else {
        Issue.record("another answer")
        return
      }
      #expect(verdict.failure == nil && verdict.outputBytes == 100_000)
      #expect(metadata == (streams.count == 2 ? said : []))
    }
    let (request, bytes) = try Self.answer(try makeDisk([(.metadata, said)]), .carry)
    guard
      case .carried(let verdict, _) = try DecodeAnswer(parsing: bytes.rawSpan, to: request)
    else {
      Issue.record("another answer")
      return
    }
    #expect(verdict.failure == .noSuchStream)
  }

  @Test func `a failure arrives`() throws {
    var disk = try Self.disk()
    disk[5000] ^= 1
    let (request, bytes) = try Self.answer(disk, .door(.verify))
    guard case .door(let verdict) = try DecodeAnswer(parsing: bytes.rawSpan, to: request),
      case .disk(let error)? = verdict.failure
    else {
      Issue.record("another answer")
      return
    }
    #expect(error.verdict == .corrupt)
    #expect(try DecodeAnswer(parsing: bytes.rawSpan, to: request).encode() == bytes)
  }

  private static func saveFile() throws -> [UInt8] {
    try Repository.bytes("fixtures/good/xl.xlsave")
  }

  @Test func `an answer on a save file arrives`() throws {
    for task in [SaveFileTask.verify, .list, .extract] {
      for damage in [false, true] {
        var file = try Self.saveFile()
        if damage { file[file.count - 1] ^= 1 }
        let (request, bytes) = try Self.answer(file, .saveFile(task))
        let answer = try DecodeAnswer(parsing: bytes.rawSpan, to: request)
        #expect(answer.encode() == bytes)
        guard case .saveFile(.saveFile(let verdict)) = answer else {
          Issue.record("another answer")
          return
        }
        #expect((verdict.problem == nil) == !damage)
        #expect(verdict.facts.format == .xl && verdict.facts.state?.offset == 4547)
        if case .good? = verdict.trailer {} else { Issue.record("no good trailer") }
      }
    }
  }

  @Test func `what is no save file is judged as a save disk, but not extracted from`() throws {
    let (request, bytes) = try Self.answer(try Self.disk(), .saveFile(.verify))
    guard case .saveFile(.disk(let verdict)) = try DecodeAnswer(parsing: bytes.rawSpan, to: request)
    else {
      Issue.record("another answer")
      return
    }
    #expect(verdict.failure == nil)
    let other = Self.request(.saveFile(.extract), request.shape)
    #expect(throws: MessageError.self) {
      try DecodeAnswer(parsing: bytes.rawSpan, to: other)
    }
  }

  @Test(arguments: [0, 3, 5, 6, 7]) func `no flipped bit traps or goes beyond a limit`(
    task: Int
  ) throws {
    let bytes =
      switch task {
      case 5: [UInt8](repeating: 0x51, count: 5000)
      case 7: try Self.saveFile()
      default: try Self.disk()
      }
    let (request, good) = try Self.answer(bytes, Self.tasks[task])
    for bit in 0..<(8 * good.count) {
      var damaged = good
      damaged[bit / 8] ^= 1 << UInt8(bit % 8)
      Self.judge(damaged, request)
    }
    var generator = SeededGenerator(seed: 0x4465_636F)
    for _ in 0..<2000 {
      Self.judge(generator.bytes(good.count), request)
      var damaged = good
      let start = Int(generator.bytes(1)[0]) * (good.count - 16) / 256
      damaged.replaceSubrange(start..<(start + 16), with: generator.bytes(16))
      Self.judge(damaged, request)
    }
    for count in [0, 1, good.count - 1, good.count + 1] {
      let bytes = [UInt8](repeating: 0, count: count)
      #expect(throws: MessageError.self) {
        try DecodeAnswer(parsing: bytes.rawSpan, to: request)
      }
    }
  }

  private static func judge(_ message: [UInt8], _ request: DecodeRequest) {
    guard let answer = try? DecodeAnswer(parsing: message.rawSpan, to: request) else { return }
    let limits = request.options.limits
    switch answer {
    case .carried(let verdict, let metadata):
      #expect(verdict.outputBytes <= request.maxOutputBytes && metadata.count <= 4096)
    case .door(let verdict):
      #expect(verdict.outputBytes <= request.maxOutputBytes && !verdict.isInOverflow)
      #expect(verdict.facts.rawBytes <= limits.maxStateBytes)
      #expect(verdict.facts.diskBytes <= limits.maxDiskBytes)
      #expect(verdict.facts.inputBytes == request.shape.totalBytes)
    case .state(let finding, let head, let outputBytes):
      #expect(head.offset <= request.shape.totalBytes ?? 0)
      #expect(outputBytes <= request.maxOutputBytes)
      if case .good(let facts) = finding {
        #expect(facts.stateBytes <= request.shape.totalBytes ?? 0)
      }
    case .saveFile(.disk(let verdict)):
      #expect(verdict.outputBytes <= request.maxOutputBytes)
    case .saveFile(.saveFile(let verdict)):
      #expect(verdict.outputBytes <= request.maxOutputBytes)
      #expect(verdict.facts.bytes <= request.shape.totalBytes ?? 0)
      if let state = verdict.facts.state {
        #expect(state.offset + state.bytes <= request.shape.totalBytes ?? 0)
        #expect(state.bytes == verdict.stateBytes)
      }
    }
  }

  @Test func `a section arrives`() throws {
    let section = StateSection(
      offset: 8, id: 3, name: [UInt8]("0000:00:03.0/e1000".utf8), instance: 1, version: 2,
      headerBytes: 32, payloadBytes: 100)
    var bytes: [UInt8] = []
    section.encode(into: &bytes)
    #expect(bytes.count == StateSection.messageBytes)
    #expect(try StateSection(parsing: bytes.rawSpan, stateBytes: 1000) == section)
    #expect(throws: MessageError.self) {
      try StateSection(parsing: bytes.rawSpan, stateBytes: 50)
    }
  }
}
