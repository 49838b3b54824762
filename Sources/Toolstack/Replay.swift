import Codecs
import Foundation
import SaveDisk
import SystemIO
import Transfer

/// `verify --replay`: every fixture of a manifest is judged as it says, and every good one that
/// the writer can make is written again to the same bytes.
public struct Replay: Sendable {
  public private(set) var judged = 0
  public private(set) var rewritten = 0
  /// One line for each fixture that is not as the manifest says.
  public private(set) var differences: [PlainText] = []

  private let directory: SystemPath

  public init(directory: SystemPath) { self.directory = directory }

  /// A manifest is some 300 KB; this only keeps a mistaken path from filling memory.
  private static let maxManifestBytes: UInt64 = 64 << 20

  /// - Throws: `ToolError` if the manifest cannot be read.
  public mutating func run() throws(ToolError) {
    let manifest = try readManifest()
    for fixture in manifest.fixtures {
      judged += 1
      if let difference = judge(fixture) {
        note(fixture, difference)
      } else if fixture.write != nil {
        if let difference = rewrite(fixture) {
          note(fixture, difference)
        } else {
          rewritten += 1
        }
      }
    }
  }

  private mutating func note(_ fixture: Manifest.Fixture, _ difference: String) {
    var text = PlainText()
    text.append(escaping: fixture.file.utf8)
    text.append(": ")
    text.append(escaping: difference.utf8)
    differences.append(text)
  }

  private func readManifest() throws(ToolError) -> Manifest {
    let path = path("manifest.json")
    let bytes = try attempt(path) { () throws(SystemError) in
      try FileDescriptor.open(path, .read).wholeFile(maxBytes: Replay.maxManifestBytes)
    }
    do {
      return try JSONDecoder().decode(Manifest.self, from: Data(bytes))
    } catch {
      throw ToolError(.corrupt, path) {
        $0.append("not a manifest of fixtures: ")
        $0.append(escaping: "\(error)".utf8, maxBytes: 200)
      }
    }
  }

  private func path(_ file: String) -> SystemPath { directory.appending([UInt8](file.utf8)) }

  private func options(_ fixture: Manifest.Fixture) -> ReadOptions? {
    var options = ReadOptions()
    if let bytes = fixture.limits?.maxStateBytes {
      options.limits = ReaderLimits(maxStateBytes: bytes)
    }
    if let names = fixture.limits?.codecs {
      guard let codecs = CodecSet(names: names) else { return nil }
      options.acceptedCodecs = codecs
    }
    return options
  }

  /// What differs from the manifest, or nil.
  private func judge(_ fixture: Manifest.Fixture) -> String? {
    let path = path(fixture.file)
    guard let options = options(fixture) else {
      return "the manifest's entry cannot be used"
    }
    let judgement = DiskCommands.verify(path, options: options)
    guard let verdict = judgement.verdict else { return "cannot be read" }
    guard verdict.facts.inputBytes == fixture.bytes else { return "has another length" }
    switch verdict.failure {
    case nil: return judgeGood(fixture, verdict.facts)
    case .disk(let error)?:
      if error.verdict.rawValue == fixture.exitCode
        && "\(error.verdict.word)" == fixture.verdict
        && "\(error.structure.name)" == fixture.structure
        && "\(error.field.name)" == fixture.field && error.offset == fixture.offset
      {
        return nil
      }
      var text = PlainText()
      error.describe(into: &text)
      return "found " + String(decoding: text.bytes, as: UTF8.self)
    default: return "cannot be read"
    }
  }

  private func judgeGood(_ fixture: Manifest.Fixture, _ facts: DiskFacts) -> String? {
    guard fixture.exitCode == 0, let streams = fixture.streams else { return "found good" }
    guard facts.diskBytes == fixture.diskBytes else { return "the disk has another length" }
    guard streams.count == facts.finishedStreams else { return "another number of streams" }
    for (index, stream) in streams.enumerated() {
      let found = facts.summary(index)
      guard found.name == StreamName(stream.name), found.rawBytes == stream.rawBytes,
        found.storedBytes == stream.storedBytes, found.chunkCount == stream.chunkCount,
        found.digest.hexText == stream.xxh128
      else { return "stream \(index) differs" }
    }
    return nil
  }

  /// Why the fixture is not written again to the same bytes, or nil.
  private func rewrite(_ fixture: Manifest.Fixture) -> String? {
    let path = path(fixture.file)
    guard let options = options(fixture),
      let setting = CodecSetting(name: fixture.write?.codec ?? "")
    else { return "the manifest's entry cannot be used" }
    do {
      let input = try FileDescriptor.open(path, .read)
      guard case .good(let header, let bytes) = try Replay.header(of: input) else {
        return "has no good header"
      }
      let output = try FileDescriptor.inMemory()
      var sink = RewriteSink(
        header: header, setting: setting, output: FileDescriptor(borrowing: output.number))
      var walk = try DiskWalk(input, options: options)
      try walk.run(&sink)
      if sink.failure != nil { return "could not be written again" }
      let same = try input.hasSameBytes(as: output, count: min(bytes, walk.facts.diskBytes))
      let length = try output.status().bytes
      return same && length == walk.facts.diskBytes ? nil : "is written again to other bytes"
    } catch {
      return "could not be written again: \(error)"
    }
  }

  private enum Header {
    case good(DiskHeader.Parsed, inputBytes: UInt64)
    case none
  }

  private static func header(of input: borrowing FileDescriptor) throws -> Header {
    var buffer = AlignedBuffer(byteCount: Layout.blockBytes)
    var block = buffer.mutableBytes(0..<Layout.blockBytes)
    guard try input.read(into: &block, from: 0, at: 0) == Layout.blockBytes else { return .none }
    let header = try DiskHeader.parse(buffer.bytes(0..<Layout.blockBytes))
    return .good(header, inputBytes: try input.status().bytes)
  }
}

extension FileDescriptor {
  /// All bytes of a regular file; EFBIG if it has more than `maxBytes`.
  fileprivate func wholeFile(maxBytes: UInt64) throws(SystemError) -> [UInt8] {
    let count = try status().bytes
    guard count <= maxBytes else { throw SystemError(.read, errno: EFBIG) }
    var bytes: [UInt8] = []
    var buffer = AlignedBuffer(byteCount: 65_536)
    while UInt64(bytes.count) < count {
      var piece = buffer.mutableBytes(0..<65_536)
      let fetched = try read(into: &piece, from: 0, at: UInt64(bytes.count))
      if fetched == 0 { break }
      for index in 0..<fetched { bytes.append(buffer.bytes(0..<fetched).byte(at: index)) }
    }
    return bytes
  }

  /// Compares the first `count` bytes of two files.
  fileprivate func hasSameBytes(
    as other: borrowing FileDescriptor, count: UInt64
  ) throws(SystemError) -> Bool {
    let pieceBytes = 65_536
    var left = AlignedBuffer(byteCount: pieceBytes)
    var right = AlignedBuffer(byteCount: pieceBytes)
    var done: UInt64 = 0
    while done < count {
      let wanted = Int(min(count - done, UInt64(pieceBytes)))
      var leftPiece = left.mutableBytes(0..<wanted)
      let leftCount = try read(into: &leftPiece, from: 0, at: done)
      var rightPiece = right.mutableBytes(0..<wanted)
      let rightCount = try other.read(into: &rightPiece, from: 0, at: done)
      // Regular files and memory give what is asked for, or are too short.
      guard leftCount == wanted && rightCount == wanted else { return false }
      for index in 0..<wanted
      where left.bytes(0..<wanted).byte(at: index) != right.bytes(0..<wanted).byte(at: index) {
        return false
      }
      done += UInt64(wanted)
    }
    return true
  }
}
