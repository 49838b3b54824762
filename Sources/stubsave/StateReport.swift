import QEMUState
import SaveDisk
import Toolstack

/// `inspect` of a state file.
struct StateReport: Encodable {
  let type = "state"
  let path: String
  /// "unverified" if nothing is wrong but it has no trailer.
  let verdict: String
  /// "good", "none", or the verdict on a trailer that does not fit.
  let trailer: String
  /// Without a good trailer: all bytes of the file.
  let stateBytes: UInt64
  let xxh128: String?
  /// Zeros behind a good trailer, if there are any.
  let paddingBytes: UInt64?
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
  private let reason: String?

  init(_ judgement: SaveFileJudgement, _ state: SaveFileJudgement.State) {
    path = judgement.path.text
    verdict = judgement.word
    trailer = "\(state.trailer)"
    stateBytes = state.bytes
    xxh128 = state.digest?.hexText
    paddingBytes = state.paddingBytes == 0 ? nil : state.paddingBytes
    metadata = MetadataText.lines(state.metadata)
    kind = (judgement.head ?? .unseen).word
    machine = judgement.head?.machineText
    sections = judgement.sections.map(SectionReport.init)
    sectionsFoundBy = SectionWay(sections)
    what = (judgement.head ?? .unseen).name
    reason = judgement.reason?.text
  }

  enum CodingKeys: CodingKey {
    case type, path, verdict, trailer, stateBytes, xxh128, paddingBytes, metadata, kind, machine
    case sectionsFoundBy, sections
  }

  /// For people.
  var lines: [String] {
    let word = verdict == "unverified" ? "none, unverified" : trailer
    var lines = ["\(path): \(what), \(stateBytes) bytes; trailer: \(word)"]
    if let machine { lines.append("  machine  \(machine)") }
    if let xxh128 { lines.append("  xxh128   \(xxh128)") }
    if let paddingBytes, let remark = PlainText.remark(paddingBytes: paddingBytes) {
      lines.append("  \(remark.text)")
    }
    lines += metadata.map { "  \($0)" }
    lines += SectionReport.lines(sections)
    if let reason { lines.append("then: \(reason)") }
    return lines
  }
}
