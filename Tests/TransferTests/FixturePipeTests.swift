import Foundation
import SaveDisk
import SystemIO
import TestSupport
import Testing
import Transfer

// Invariants:
// - every fixture that fits into a pipe gets, through a pipe, the verdict that a file of the same
//   bytes gets; only what an allocated disk has behind its end is refused there, because a pipe is
//   an archive.

@Suite struct FixturePipeTests {
  /// What a pipe holds without a reader (pipe(7)).
  static let pipeBytes = 65_536

  @Test func `fixtures through a pipe`() throws {
    let folders = ["good", "corrupt", "incomplete", "not-a-save-disk", "unsupported", "over-limit"]
    var judged = 0
    var trailing = 0
    for folder in folders {
      let url = Repository.fixtures.appendingPathComponent(folder)
      for name in try FileManager.default.contentsOfDirectory(atPath: url.path).sorted() {
        let bytes = try Repository.bytes("fixtures/\(folder)/\(name)")
        guard bytes.count <= Self.pipeBytes else { continue }
        let pipe = try LocalPipe()
        try pipe.writer.writeAll(bytes.rawSpan)
        pipe.closeWriter()
        let fromPipe = try extract(pipe.reader)
        let fromFile = try extract(bytes)
        judged += 1
        if fromPipe == fromFile { continue }
        // How much follows the end of an archive is known of a file alone.
        if case .disk(let one)? = fromPipe.failure, case .disk(let other)? = fromFile.failure,
          one.field == .trailing, one.structure == other.structure, one.field == other.field,
          one.verdict == other.verdict, one.offset == other.offset
        {
          #expect(one.found == 0 && other.found != 0, "\(folder)/\(name)")
          continue
        }
        trailing += 1
        guard case .disk(let error)? = fromPipe.failure else {
          Issue.record("\(folder)/\(name): \(fromPipe) \(fromFile)")
          continue
        }
        #expect(error.structure == .disk && error.field == .trailing, "\(folder)/\(name)")
        #expect(fromFile.failure == nil || fromFile.failure == .noSuchStream)
      }
    }
    #expect(judged > 500)
    #expect(trailing > 0)
  }
}
