import SaveDisk
import SaveFiles
import Toolstack

/// `inspect` of a toolstack's save file, for people.
enum SaveFileText {
  static func lines(_ judgement: SaveFileJudgement) -> [String] {
    let format = judgement.facts.format.map { "\($0.name)" } ?? "no save file"
    var lines = ["\(judgement.path.text): \(format), \(judgement.word)\(judgement.behind)"]
    if !judgement.entries.isEmpty {
      lines.append("headers and records")
      lines.append("        offset       bytes  structure")
    }
    var rest = judgement.entries[...]
    while let entry = rest.first {
      let run = rest.prefix { $0.structure == .pageData && entry.structure == .pageData }
      lines.append(run.count > 1 ? memoryLine(run) : line(entry))
      rest = rest.dropFirst(max(run.count, 1))
    }
    let more = judgement.facts.entryCount - UInt64(judgement.entries.count)
    if more > 0 { lines.append("  ... and \(more) more") }
    if judgement.facts.format != nil {
      lines.append("\(judgement.stateLine)")
      if let remark = judgement.remark { lines.append("  \(remark.text)") }
      lines += MetadataText.lines(judgement.state?.metadata ?? []).map { "  \($0)" }
    }
    if judgement.state != nil {
      lines += SectionReport.lines(judgement.sections.map(SectionReport.init))
    }
    if let reason = judgement.reason { lines.append("then: \(reason.text)") }
    return lines
  }

  private static func line(_ entry: SaveFileEntry) -> String {
    start(entry.offset, entry.bytes) + "\(entry.structure.name)" + values(entry)
  }

  /// Nobody wants to see a thousand of them.
  private static func memoryLine(_ run: ArraySlice<SaveFileEntry>) -> String {
    let bytes = run.reduce(UInt64(0)) { $0 + $1.bytes }
    let pages = run.reduce(UInt64(0)) { $0 + $1.second }
    return start(run[run.startIndex].offset, bytes)
      + "\(SaveFileStructure.pageData.name), \(run.count) times: pages \(pages)"
  }

  private static func start(_ offset: UInt64, _ bytes: UInt64) -> String {
    InspectText.right("\(offset)", 14) + InspectText.right("\(bytes)", 12) + "  "
  }

  private static func values(_ entry: SaveFileEntry) -> String {
    if entry.structure == .domainHeader {
      return ": type \(entry.first), Xen \(entry.second >> 32).\(entry.second & 0xFFFF_FFFF)"
    }
    var words: [String] = []
    switch entry.structure {
    case .libxlRecord, .libxcRecord: words.append("type \(hex(entry.type))")
    default: break
    }
    let names = entry.structure.valueNames
    if let first = names.first { words.append("\(first) \(entry.first)") }
    if let second = names.second { words.append("\(second) \(entry.second)") }
    return words.isEmpty ? "" : ": " + words.joined(separator: ", ")
  }

  private static func hex(_ number: UInt64) -> String {
    var text = PlainText()
    text.append(hex: number, minDigits: 8)
    return text.text
  }
}
