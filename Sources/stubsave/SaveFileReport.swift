import QEMUState
import SaveDisk
import SaveFiles
import Toolstack
import Transfer

/// `verify` of a toolstack's save file. As that of a disk, but for what only one of them has.
struct SaveFileReport: Encodable {
  let type = "verdict"
  let path: String
  /// Such as "xl save file".
  let container: String?
  /// "unverified" if nothing is wrong but its state has no trailer, or without one bytes follow; "error"
  /// if the file could not be judged.
  let verdict: String
  let exitCode: UInt8
  let structure: String?
  let field: String?
  let offset: UInt64?
  let message: String?
  /// Of a good one; what may follow left out.
  let containerBytes: UInt64?
  /// What may follow it.
  let bytesBehind: UInt64?
  let state: State?

  /// Where QEMU's state is.
  struct State: Encodable {
    /// From the start of the file.
    let offset: UInt64
    /// With its trailer.
    let bytes: UInt64
    /// "good", "none", or the verdict on a trailer that does not fit.
    let trailer: String
    /// Without a good trailer: all bytes.
    let stateBytes: UInt64
    let xxh128: String?
    /// Zeros behind a good trailer, if there are any.
    let paddingBytes: UInt64?

    init(_ state: SaveFileJudgement.State) {
      offset = state.saved.offset
      bytes = state.saved.bytes
      trailer = "\(state.trailer)"
      stateBytes = state.bytes
      xxh128 = state.digest?.hexText
      paddingBytes = state.paddingBytes == 0 ? nil : state.paddingBytes
    }
  }

  init(_ judgement: SaveFileJudgement) {
    path = judgement.path.text
    container = judgement.facts.format.map { "\($0.name)" }
    verdict = judgement.word
    exitCode = judgement.status.rawValue
    structure = judgement.place.map { "\($0.structure)" }
    field = judgement.place.map { "\($0.field)" }
    offset = judgement.place?.offset
    message = judgement.reason?.text
    containerBytes = judgement.status == .good ? judgement.facts.bytes : nil
    bytesBehind = judgement.status == .good ? judgement.facts.bytesBehind : nil
    state = judgement.state.map(State.init)
  }

  enum CodingKeys: CodingKey {
    case type, path, container, verdict, exitCode, structure, field, offset, message
    case containerBytes, bytesBehind, state
  }
}

/// `inspect` of one.
struct SaveFileInspection: Encodable {
  let type = "inspection"
  let verdict: SaveFileReport
  let records: [Record]
  let recordsNotListed: UInt64
  let metadata: [String]
  /// As of a state file; nil if there is no state.
  let stateKind: String?
  let machine: String?
  let sectionsFoundBy: SectionWay
  let sections: [SectionReport]

  /// A header or record.
  struct Record: Encodable {
    let offset: UInt64
    let structure: String
    /// Of a record its type as a number.
    let recordType: UInt64?
    /// Of a record its body's, of anything else all of it.
    let bytes: UInt64
    /// Some of its fields.
    let values: [String: UInt64]

    init(_ entry: SaveFileEntry) {
      offset = entry.offset
      structure = "\(entry.structure.name)"
      recordType = entry.isRecord ? entry.type : nil
      bytes = entry.bytes
      var values: [String: UInt64] = [:]
      let names = entry.structure.valueNames
      if let first = names.first { values["\(first)"] = entry.first }
      if let second = names.second { values["\(second)"] = entry.second }
      if entry.structure == .domainHeader {
        values["xen_major"] = entry.second >> 32
        values["xen_minor"] = entry.second & 0xFFFF_FFFF
      }
      self.values = values
    }
  }

  init(_ judgement: SaveFileJudgement) {
    verdict = SaveFileReport(judgement)
    records = judgement.entries.map(Record.init)
    recordsNotListed = judgement.facts.entryCount - UInt64(judgement.entries.count)
    metadata = MetadataText.lines(judgement.state?.metadata ?? [])
    stateKind = judgement.head?.word
    machine = judgement.head?.machineText
    sections = judgement.sections.map(SectionReport.init)
    sectionsFoundBy = SectionWay(sections)
  }

  enum CodingKeys: CodingKey {
    case type, verdict, records, recordsNotListed, metadata, stateKind, machine
    case sectionsFoundBy, sections
  }
}

extension SaveFileJudgement {
  var word: String {
    if status == .good { return isUnverified ? "unverified" : "good" }
    return place.map { "\($0.verdict.word)" } ?? "error"
  }

  /// For `verify`: the path, the verdict, and what it rests on.
  var line: String {
    guard status == .good, let format = facts.format else {
      let text = reason?.text ?? ""
      return place == nil ? "\(path.text): error: \(text)" : "\(path.text): \(text)"
    }
    return "\(path.text): \(word): \(format.name), \(facts.bytes) bytes\(behind); \(stateLine)"
      + (remark.map { "; \($0.text)" } ?? "")
  }

  /// The remark on what is no part of it.
  var behind: String {
    facts.bytesBehind == 0 ? "" : ", \(facts.bytesBehind) bytes behind its end are not looked at"
  }

  var stateLine: String {
    guard let state else {
      return status == .good ? "no state of QEMU's" : "QEMU's state has not been come to"
    }
    let digest = state.digest.map { ", xxh128 \($0.hexText)" } ?? ""
    return "QEMU's state \(state.bytes) bytes at \(state.saved.offset), trailer: \(state.trailer)"
      + digest
  }
}
