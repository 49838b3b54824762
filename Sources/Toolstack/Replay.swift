import Codecs
import Decoding
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

  /// The largest fixture has some 130 KB, the manifest 300; this only keeps a mistaken path from
  /// filling memory.
  private static let maxFileBytes: UInt64 = 64 << 20

  /// - Throws: `ToolError` if the manifest cannot be read.
  public mutating func run() throws(ToolError) {
    let manifest = try readManifest()
    for fixture in manifest.fixtures {
      judged += 1
      guard let path = directory.appending([UInt8](fixture.file.utf8)),
        let options = options(fixture.limits)
      else {
        note(fixture.file, "the manifest's entry cannot be used")
        continue
      }
      let judgement = judgement(path, options)
      if let difference = difference(fixture, judgement) {
        note(fixture.file, difference)
      } else if let write = fixture.write {
        if let difference = rewrite(path, judgement, options, write) {
          note(fixture.file, difference)
        } else {
          rewritten += 1
        }
      }
    }
    for fixture in manifest.saveFiles { judge(fixture) }
  }

  /// As a save disk, whatever it begins with.
  private func judgement(_ path: SystemPath, _ options: ReadOptions) -> Judgement {
    do throws(ToolError) {
      let input = try DiskCommands.openInput(path)
      return Judgement(
        path: path,
        verdict: DecoderProcess.open(input, task: .verify, options: options, output: .nowhere))
    } catch {
      return Judgement(path: path, status: error.status, verdict: nil, reason: error.reason)
    }
  }

  private func finding(_ path: SystemPath, _ options: ReadOptions) -> Finding {
    DiskCommands.verify(path, options: options, spoolDirectory: SystemPath(word: "/var/tmp"))
  }

  private mutating func judge(_ fixture: Manifest.SaveFile) {
    judged += 1
    guard let path = directory.appending([UInt8](fixture.file.utf8)),
      let options = options(fixture.limits)
    else {
      note(fixture.file, "the manifest's entry cannot be used")
      return
    }
    switch finding(path, options) {
    case .saveFile(let judgement):
      if let difference = fixture.difference(judgement) { note(fixture.file, difference) }
    case .disk: note(fixture.file, "found no save file of a toolstack's")
    }
  }

  private mutating func note(_ file: String, _ difference: String) {
    var text = PlainText()
    text.append(escaping: file.utf8)
    text.append(": ")
    text.append(escaping: difference.utf8)
    differences.append(text)
  }

  private func readManifest() throws(ToolError) -> Manifest {
    guard let path = directory.appending([UInt8]("manifest.json".utf8)) else {
      preconditionFailure()
    }
    let bytes = try attempt(path) { () throws(SystemError) in
      try FileDescriptor.open(path, .read).wholeFile(maxBytes: Replay.maxFileBytes)
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

  private func options(_ limits: Manifest.Limits?) -> ReadOptions? {
    var options = ReadOptions.dom0
    if let bytes = limits?.maxStateBytes {
      options.limits = ReaderLimits(maxStateBytes: bytes)
    }
    if let names = limits?.codecs {
      guard let codecs = CodecSet(names: names) else { return nil }
      options.acceptedCodecs = codecs
    }
    return options
  }

  /// What differs from the manifest, or nil.
  private func difference(_ fixture: Manifest.Fixture, _ judgement: Judgement) -> String? {
    guard let verdict = judgement.verdict else { return "cannot be read" }
    guard verdict.facts.inputBytes == fixture.bytes else { return "has another length" }
    switch verdict.failure {
    case nil: return differenceOfGood(fixture, verdict.facts)
    case .disk(let error)?:
      if let damage = fixture.damage,
        error.verdict.rawValue == damage.exitCode
          && "\(error.verdict.word)" == damage.verdict
          && "\(error.structure.name)" == damage.structure
          && "\(error.field.name)" == damage.field && error.offset == damage.offset
      {
        return nil
      }
      var text = PlainText()
      error.describe(into: &text)
      return "found " + text.text
    default: return "cannot be read"
    }
  }

  private func differenceOfGood(_ fixture: Manifest.Fixture, _ facts: DiskFacts) -> String? {
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

  /// Why a good fixture is not written again to the same bytes, or nil.
  private func rewrite(
    _ path: SystemPath, _ judgement: Judgement, _ options: ReadOptions, _ write: Manifest.Write
  ) -> String? {
    guard let facts = judgement.verdict?.facts, let header = facts.header,
      let setting = CodecSetting(name: write.codec)
    else { return "the manifest's entry cannot be used" }
    do {
      let input = try FileDescriptor.open(path, .read)
      let output = try FileDescriptor.inMemory()
      var sink = RewriteSink(
        header: header, setting: setting, output: FileDescriptor(borrowing: output.number))
      // Not through the door: a fixture is the project's own.
      var walk = try DiskWalk(input, options: options, resources: .dom0())
      try walk.run(&sink)
      let original = try input.wholeFile(maxBytes: Replay.maxFileBytes)
      let again = try output.wholeFile(maxBytes: Replay.maxFileBytes)
      let isSame = again.elementsEqual(original.prefix(Int(facts.diskBytes)))
      return isSame ? nil : "is written again to other bytes"
    } catch {
      return "could not be written again: \(error)"
    }
  }
}

extension FileDescriptor {
  /// All bytes of a regular file; EFBIG if it has more than `maxBytes`.
  fileprivate func wholeFile(maxBytes: UInt64) throws(SystemError) -> [UInt8] {
    let count = try status().bytes
    guard count <= maxBytes else { throw SystemError(.read, errno: EFBIG) }
    return try bytes(count: count)
  }
}
