// Invariants:
// - a good save file that is cut anywhere is incomplete, there and not before;
// - one whose end reads as zeros is never good unless QEMU's state, or what stands for it, is whole;
// - what follows is counted, not looked at;
// - from a pipe and from a file the verdict is the same;
// - a flipped bit changes the verdict or nothing that is said: what is handed out is what lies at
//   the place that is named;
// - structures and fields are called as in formats/containers.md.

import Decoding
import Foundation
import QEMUState
import SaveDisk
import SaveFiles
import SystemIO
import TestSupport
import Testing
import Transfer

@Suite struct SaveFileTests {
  private static let suffixes = [".xlsave", ".libvirtsave", ".libxl", ".suspend"]

  /// Names of the fixtures in a folder.
  private static func names(_ folder: String) throws -> [String] {
    let url = Repository.fixtures.appendingPathComponent(folder)
    return try FileManager.default.contentsOfDirectory(atPath: url.path).sorted()
      .filter { name in suffixes.contains { name.hasSuffix($0) } }
  }

  private static func bytes(_ folder: String, _ name: String) throws -> [UInt8] {
    try Repository.bytes("fixtures/\(folder)/\(name)")
  }

  /// The verdict and the state that has been handed out.
  private static func extract(
    _ input: borrowing FileDescriptor
  ) throws -> (SaveFileVerdict, [UInt8]) {
    let output = DoorOutput(try FileDescriptor.inMemory())
    let judged = SaveFileDoor.open(input, task: .extract, options: ReadOptions(), output: output)
    guard case .saveFile(let verdict) = judged else {
      Issue.record("a save disk")
      throw MessageError()
    }
    return (verdict, try output.file(isInOverflow: false).bytes(count: verdict.stateBytes))
  }

  private static func extract(_ bytes: [UInt8]) throws -> (SaveFileVerdict, [UInt8]) {
    let file = try MemoryFile(bytes)
    return try extract(file.descriptor)
  }

  @Test func `a cut is found where it is`() throws {
    let step = Thoroughness.isExhaustive ? 1 : 37
    for name in try Self.names("good") {
      let whole = try Self.bytes("good", name)
      let (good, _) = try Self.extract(whole)
      #expect(good.problem == nil, "\(name)")
      for count in stride(from: SaveFileFormat.maxMagicBytes, to: whole.count, by: step) {
        let (verdict, _) = try Self.extract([UInt8](whole[..<count]))
        if count >= good.facts.bytes {
          #expect(verdict.problem == nil, "\(name) cut at \(count)")
          continue
        }
        guard case .container(.file(let error))? = verdict.problem else {
          Issue.record("\(name) cut at \(count) is good")
          return
        }
        #expect(error.verdict == .incomplete && error.field == .end, "\(name) cut at \(count)")
        #expect(error.offset == UInt64(count), "\(name) cut at \(count)")
      }
    }
  }

  /// END is eight zeros: zeros inside memory lead to one.
  @Test func `an end that reads as zeros is none`() throws {
    let step = Thoroughness.isExhaustive ? 5 : 23
    for name in try Self.names("good") {
      let whole = try Self.bytes("good", name)
      let (good, _) = try Self.extract(whole)
      let end = good.facts.state?.offset ?? good.facts.bytes - 8
      if good.facts.state == nil && good.facts.format == .xenopsd { continue }
      for start in stride(from: SaveFileFormat.maxMagicBytes, to: Int(end), by: step) {
        for behind in [0, 4096] {
          // Then only contents of the last record can be lost, which are not looked at.
          if behind == 0 && good.facts.state == nil { continue }
          let zeros = [UInt8](repeating: 0, count: whole.count - start + behind)
          let (verdict, _) = try Self.extract(whole[..<start] + zeros)
          // Without a state nobody says how many records there were.
          let isUncertain = good.facts.state == nil && verdict.facts.isEndUncertain
          #expect(
            verdict.problem != nil || isUncertain, "\(name), zeros from \(start), \(behind) behind")
        }
      }
    }
  }

  @Test func `what follows is counted`() throws {
    for name in try Self.names("good") {
      let whole = try Self.bytes("good", name)
      let (good, state) = try Self.extract(whole)
      #expect(good.facts.bytes + good.facts.bytesBehind == UInt64(whole.count), "\(name)")
      if good.facts.state == nil || name.hasPrefix("libxl-checkpointed") { continue }
      for behind: [UInt8] in [[0], [1], [UInt8](repeating: 0xA5, count: 8000)] {
        let (verdict, found) = try Self.extract(whole + behind)
        #expect(verdict.problem == nil && found == state, "\(name)")
        #expect(
          verdict.facts.bytesBehind == good.facts.bytesBehind + UInt64(behind.count), "\(name)")
      }
    }
  }

  @Test func `other formats are named`() throws {
    var named: Set<UInt8> = []
    let url = Repository.fixtures.appendingPathComponent("not-a-save-disk")
    for name in try FileManager.default.contentsOfDirectory(atPath: url.path)
    where name.hasSuffix(".foreign") {
      let bytes = try Self.bytes("not-a-save-disk", name)
      let (verdict, state) = try Self.extract(bytes)
      guard case .container(.file(let error))? = verdict.problem else {
        Issue.record("\(name) is good")
        return
      }
      #expect(error.verdict == .notASaveDisk && error.field == .magic && state.isEmpty)
      let format = ForeignFormat(bytes.rawSpan)
      #expect(error.found == format.map { UInt64($0.rawValue) }, "\(name)")
      if let format { named.insert(format.rawValue) }
    }
    let others = ForeignFormat.allCases.filter { !$0.isJudgedElsewhere }.map(\.rawValue)
    #expect(named == Set(others))
  }

  @Test func `from a pipe as from a file`() throws {
    var count = 0
    for folder in ["good", "corrupt", "incomplete", "unsupported"] {
      for name in try Self.names(folder) {
        let bytes = try Self.bytes(folder, name)
        guard bytes.count <= 65_536 else { continue }
        let pipe = try LocalPipe()
        try pipe.writer.writeAll(bytes.rawSpan)
        pipe.closeWriter()
        let (fromPipe, piped) = try Self.extract(pipe.reader)
        let (fromFile, state) = try Self.extract(bytes)
        #expect(fromPipe.problem == fromFile.problem, "\(folder)/\(name)")
        #expect(fromPipe.head == fromFile.head, "\(folder)/\(name)")
        // What the state is by its first bytes is judged outside.
        let isGood =
          fromPipe.problem == nil && (fromPipe.head?.kind ?? .deviceState) == .deviceState
        #expect(isGood == (folder == "good"), "\(folder)/\(name)")
        #expect(piped == state && fromPipe.facts.state == fromFile.facts.state)
        count += 1
      }
    }
    #expect(count > 250)
  }

  @Test func `a flipped bit gives no other state`() throws {
    let step = Thoroughness.isExhaustive ? 1 : 211
    for name in [
      "xl.xlsave", "libvirt.libvirtsave", "libxl-checkpointed.libxl", "suspend.suspend",
    ] {
      let whole = try Self.bytes("good", name)
      let (_, state) = try Self.extract(whole)
      for bit in stride(from: 8 * SaveFileFormat.maxMagicBytes, to: 8 * whole.count, by: step) {
        var damaged = whole
        damaged[bit / 8] ^= 1 << UInt8(bit % 8)
        let (verdict, found) = try Self.extract(damaged)
        // With a trailer behind it no other state passes. Beside it much may change: memory, whether
        // the record is one of QEMU's at all, and whether its padding counts as a part of it.
        guard verdict.problem == nil else { continue }
        let isNone = verdict.facts.state == nil && found.isEmpty
        let isPadded =
          found.starts(with: state) && found.dropFirst(state.count).allSatisfy { $0 == 0 }
        #expect(isNone || isPadded, "\(name), bit \(bit)")
      }
    }
  }

  @Test func `names are those of the document`() throws {
    let document = try Repository.text("formats/containers.md")
    for structure in SaveFileStructure.allCases {
      var name = "\(structure.name)"
      if !document.contains("`\(name)`") {
        for level in ["libxl ", "libxc ", "xenopsd "] where name.hasPrefix(level) {
          name.removeFirst(level.count)
        }
        #expect(document.contains("`\(name)`"), "\(name)")
      }
    }
    for field in SaveFileField.allCases {
      #expect(document.contains("`\(field.name)`"), "\(field.name)")
    }
  }

  @Test func `an error is one line of plain text`() {
    for structure in SaveFileStructure.allCases {
      for field in SaveFileField.allCases {
        for verdict in [
          VerdictClass.corrupt, .incomplete, .notASaveDisk, .unsupported, .overLimit,
        ] {
          let error = SaveFileError(verdict, structure, field, at: .max, found: .max)
          var text = PlainText()
          error.describe(into: &text)
          #expect(text.bytes.allSatisfy { $0 >= 0x20 && $0 < 0x7F } && text.bytes.count < 200)
        }
      }
    }
  }

  /// Pages of a guest are passed over: what no byte can be read of is not looked at.
  @Test func `memory is not read`() throws {
    let record = 128 << 20
    let pages = (record - 8) / (4096 + 8)
    let numbers = (0..<pages).flatMap { number in
      (0..<8).map { UInt8(truncatingIfNeeded: number >> (8 * $0)) }
    }
    let memory = try FileDescriptor.inMemory()
    try memory.writeAll(Self.libxlStart.rawSpan, at: 0)
    var offset = UInt64(Self.libxlStart.count)
    let body = 8 + 8 * pages + 4096 * pages
    for _ in 0..<64 {
      let head = Self.words(1, UInt32(body), UInt32(pages), 0)
      try memory.writeAll((head + numbers).rawSpan, at: offset)
      offset += UInt64(8 + body)
    }
    try memory.writeAll((Self.words(0, 0) + Self.words(0, 0)).rawSpan, at: offset)
    let start = ContinuousClock.now
    let (verdict, _) = try Self.extract(memory)
    #expect(verdict.problem == nil)
    #expect(verdict.facts.bytes == offset + 16 && offset > 8_500_000_000)
    // Of memory nothing: 64 records of numbers, and blocks around them. Tests/Formats/passed_over.py counts.
    #expect(ContinuousClock.now - start < .seconds(10))
  }

  private static func words(_ numbers: UInt32...) -> [UInt8] {
    var bytes: [UInt8] = []
    for number in numbers { bytes.append(littleEndian: number) }
    return bytes
  }

  /// A libxl stream up to the first record of libxc's memory: version 2, which needs nothing before.
  private static let libxlStart: [UInt8] =
    [UInt8]("LibxlFmt".utf8) + [0, 0, 0, 2, 0, 0, 0, 0] + words(1, 0)
    + [UInt8](repeating: 0xFF, count: 8) + [UInt8]("XENF".utf8) + [0, 0, 0, 2]
    + [UInt8](repeating: 0, count: 8) + words(2, 12, 4, 17)
}
