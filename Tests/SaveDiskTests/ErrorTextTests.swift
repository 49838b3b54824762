import SaveDisk
import Testing

// Invariants:
// - every verdict has words of its own that name offset, structure and field;
// - whatever numbers an error carries, its text is one line of printable ASCII.

@Suite struct ErrorTextTests {
  static func text(_ error: DiskError) -> String {
    var text = PlainText()
    error.describe(into: &text)
    return String(decoding: text.bytes, as: UTF8.self)
  }

  static let texts: [(DiskError, String)] = [
    (
      DiskError(.corrupt, .disk, .trailing, at: 8192, found: 1, expected: 8192),
      "corrupt: offset 8192, disk trailing: 1 byte follows the end of the archive; "
        + "if that is only padding, cut a copy there: truncate -s 8192"
    ),
    (
      DiskError(.corrupt, .disk, .trailing, at: 8192, expected: 8192),
      "corrupt: offset 8192, disk trailing: bytes follow the end of the archive; "
        + "if that is only padding, cut it there (head -c 8192), or give the file or device itself"
    ),
    (
      // Within something else, which cannot be cut there.
      DiskError(.corrupt, .disk, .trailing, at: 8192, found: 4096),
      "corrupt: offset 8192, disk trailing: 4096 bytes follow the end of the archive"
    ),
    (
      DiskError(.notASaveDisk, .header, .end, at: 10, found: 10, expected: 4096),
      "not-a-save-disk: offset 10, header end: shorter than a header: 10 bytes"
    ),
    (
      DiskError(.notASaveDisk, .header, .magic, at: 0),
      "not-a-save-disk: offset 0, header magic: not what a save disk begins with"
    ),
    (
      DiskError(.incomplete, .header, .end, at: 17, found: 17, expected: 4096),
      "incomplete: offset 17, header end: cut inside the header, after 17 bytes"
    ),
    (
      DiskError(.unsupported, .streamBegin, .flags, at: 4180, found: 1),
      "unsupported: offset 4180, stream begin flags: "
        + "a stream that must be understood is not known here"
    ),
    (
      DiskError(.corrupt, .streamBegin, .flags, at: 4180, found: 6),
      "corrupt: offset 4180, stream begin flags: flags 0x00000006 are not known here"
    ),
    (
      DiskError(.incomplete, .disk, .end, at: 4096),
      "incomplete: offset 4096, disk end: the log ends without a commit"
    ),
    (
      DiskError(.incomplete, .record, .end, at: 5000),
      "incomplete: offset 5000, record end: cut off here"
    ),
    (
      DiskError(.incomplete, .abort, .code, at: 4160, found: 3),
      "incomplete: offset 4160, abort code: the writer gave up, code 3: "
        + "the state does not fit into the disk"
    ),
    (
      DiskError(.incomplete, .abort, .code, at: 4160, found: 99),
      "incomplete: offset 4160, abort code: the writer gave up, code 99"
    ),
    (
      DiskError(.unsupported, .header, .version, at: 16, found: 2, expected: 1),
      "unsupported: offset 16, header version: version 2, this reader knows 1"
    ),
    (
      DiskError(.unsupported, .header, .requiredFeatures, at: 20, found: 1),
      "unsupported: offset 20, header requiredFeatures: features 0x00000001 are not known here"
    ),
    (
      DiskError(.unsupported, .record, .type, at: 4104, found: 77),
      "unsupported: offset 4104, record type: mandatory record of unknown type 0x0000004d"
    ),
    (
      DiskError(.unsupported, .record, .codec, at: 4128, found: 4),
      "unsupported: offset 4128, record codec: codec zstd is not accepted here"
    ),
    (
      DiskError(.unsupported, .record, .codec, at: 4128, found: 20),
      "unsupported: offset 4128, record codec: codec 20 is not accepted here"
    ),
    (
      DiskError(.overLimit, .record, .rawBytes, at: 4124, found: 9, expected: 8),
      "over-limit: offset 4124, record rawBytes: the state has at least 9 bytes, "
        + "the limit (--max-state) is 8"
    ),
    (
      DiskError(.overLimit, .record, .storedBytes, at: 4120, found: 9, expected: 8),
      "over-limit: offset 4120, record storedBytes: the log has at least 9 bytes, "
        + "the limit (from --max-state) is 8"
    ),
    (
      DiskError(.corrupt, .record, .hash, at: 4096),
      "corrupt: offset 4096, record hash: does not fit the bytes that it covers"
    ),
    (
      DiskError(.corrupt, .record, .codec, at: 4128, found: 3, expected: 3),
      "corrupt: offset 4128, record codec: codec zlib is not among those that the header allows"
    ),
    (
      DiskError(.corrupt, .commit, .recordCount, at: 4300, found: 2, expected: 3),
      "corrupt: offset 4300, commit recordCount: found 2, expected 3"
    ),
  ]

  @Test(arguments: texts)
  func `words`(error: DiskError, expected: String) {
    #expect(Self.text(error) == expected)
  }

  @Test func `every combination is one line of printable ASCII`() {
    var seen = 0
    for verdict in [VerdictClass.corrupt, .incomplete, .notASaveDisk, .unsupported, .overLimit] {
      for structure in (UInt8(0)...60).compactMap(DiskStructure.init) {
        for field in (UInt8(0)...60).compactMap(DiskField.init) {
          let error = DiskError(
            verdict, structure, field, at: .max, found: .max, expected: .max)
          let text = Self.text(error)
          #expect(text.utf8.allSatisfy { $0 >= 0x20 && $0 < 0x7F })
          #expect(text.contains("\(verdict.word): offset 18446744073709551615"))
          #expect(text.contains("\(structure.name) \(field.name): "))
          seen += 1
        }
      }
    }
    #expect(seen == 5 * 9 * 38)
    #expect("\(VerdictClass.good.word)" == "good")
  }
}
