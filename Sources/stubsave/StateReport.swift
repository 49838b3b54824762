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
  /// "device-state", "migration-stream", or what else its first bytes say.
  let kind: String
  /// As its configuration section says; under Xen there is none.
  let machine: String?
  /// "footers" of QEMU's, "look", or both.
  let sectionsFoundBy: SectionWay
  let sections: [SectionReport]

  /// For people.
  private let what: String

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
    kind = inspection.head.word
    machine = inspection.head.machineText
    sections = inspection.sections.map(SectionReport.init)
    sectionsFoundBy = SectionWay(sections)
    what = inspection.head.name
  }

  enum CodingKeys: CodingKey {
    case type, path, trailer, stateBytes, xxh128, metadata, kind, machine, sectionsFoundBy, sections
  }

  /// For people.
  var lines: [String] {
    var lines = ["\(path): \(what), \(stateBytes) bytes; trailer: \(trailer)"]
    if let machine { lines.append("  machine  \(machine)") }
    if let xxh128 { lines.append("  xxh128   \(xxh128)") }
    lines += metadata.map { "  \($0)" }
    lines += SectionReport.lines(sections)
    return lines
  }
}
