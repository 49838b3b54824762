import QEMUState
import SaveDisk
import Toolstack

/// `inspect` of a state file.
struct StateReport: Encodable {
  let type = "state"
  let path: String
  /// "good", "none", or the verdict on a trailer that does not fit.
  let trailer: String
  /// Without a good trailer: all bytes of the file.
  let stateBytes: UInt64
  let xxh128: String?
  let metadata: [String]
  let sections: [Section]

  struct Section: Encodable {
    let offset: UInt64
    let id: UInt32
    let name: String
    let instance: UInt32
    let version: UInt32
    let payloadBytes: UInt64

    init(_ section: StateSection) {
      var text = PlainText()
      text.append(escaping: section.name, maxBytes: 255)
      offset = section.offset
      id = section.id
      name = text.text
      instance = section.instance
      version = section.version
      payloadBytes = section.payloadBytes
    }

    /// For people.
    static func lines(_ sections: [Section]) -> [String] {
      let head = [
        "sections, by their look",
        "      offset    id  instance  version   payload  name",
      ]
      return head
        + sections.map { section in
          InspectText.right("\(section.offset)", 12) + InspectText.right("\(section.id)", 6)
            + InspectText.right("\(section.instance)", 10)
            + InspectText.right("\(section.version)", 9)
            + InspectText.right("\(section.payloadBytes)", 10) + "  \(section.name)"
        }
    }
  }

  init(_ inspection: StateInspection) {
    path = inspection.path.text
    stateBytes = inspection.stateBytes
    xxh128 = inspection.digest?.hexText
    metadata = MetadataText.lines(inspection.metadata)
    if let failure = inspection.failure {
      trailer = "\(failure.verdict.word)"
    } else {
      trailer = inspection.hasTrailer ? "good" : "none"
    }
    sections = inspection.sections.map(Section.init)
  }

  enum CodingKeys: CodingKey {
    case type, path, trailer, stateBytes, xxh128, metadata, sections
  }

  /// For people.
  var lines: [String] {
    var lines = ["\(path): a device state of QEMU, \(stateBytes) bytes; trailer: \(trailer)"]
    if let xxh128 { lines.append("  xxh128   \(xxh128)") }
    lines += metadata.map { "  \($0)" }
    lines += Section.lines(sections)
    return lines
  }
}
