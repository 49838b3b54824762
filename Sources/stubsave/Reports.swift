import Codecs
import SaveDisk
import SystemIO
import Toolstack
import Transfer

/// JSON shapes. Sizes in bytes, hashes and identifiers as hexadecimal digits in stored order.

struct HeaderReport: Encodable {
  let direction: String
  let chunkBytes: UInt32
  let transferID: String
  let capacityBytes: UInt64
  let maxRawBytes: UInt64
  let allowedCodecs: [String]
  let maxStreams: UInt32
  /// Absent if not stated.
  let recipientDomid: UInt32?
  let targetDomid: UInt32?
  let targetUUID: String?
  /// Absent if none is set.
  let compatibleFeatures: UInt32?

  init(_ header: DiskHeader) {
    direction = header.direction.text
    chunkBytes = header.chunkBytes
    transferID = header.transferID.hexText
    capacityBytes = header.capacityBytes
    maxRawBytes = header.maxRawBytes
    allowedCodecs = header.allowedCodecs.names
    maxStreams = header.maxStreams
    let notStated = DiskHeader.domidNotStated
    recipientDomid = header.recipientDomid == notStated ? nil : header.recipientDomid
    targetDomid = header.targetDomid == notStated ? nil : header.targetDomid
    targetUUID = header.targetUUID.isZero ? nil : header.targetUUID.uuidText
    compatibleFeatures = header.compatibleFeatures == 0 ? nil : header.compatibleFeatures
  }
}

struct StreamReport: Encodable {
  let name: String
  let rawBytes: UInt64
  let storedBytes: UInt64
  let chunkCount: UInt64
  let xxh128: String

  init(_ summary: StreamSummary) {
    name = summary.name.text
    rawBytes = summary.rawBytes
    storedBytes = summary.storedBytes
    chunkCount = summary.chunkCount
    xxh128 = summary.digest.hexText
  }
}

struct VerdictReport: Encodable {
  let type = "verdict"
  let path: String
  /// "error" if the input could not be judged.
  let verdict: String
  let exitCode: UInt8
  let structure: String?
  let field: String?
  let offset: UInt64?
  let message: String?
  let diskBytes: UInt64?
  let streams: [StreamReport]

  init(_ judgement: Judgement) {
    path = judgement.path.text
    verdict = judgement.word
    exitCode = judgement.status.rawValue
    let error = judgement.diskError
    structure = error.map { "\($0.structure.name)" }
    field = error.map { "\($0.field.name)" }
    offset = error?.offset
    message = judgement.reason?.text
    let facts = judgement.verdict?.facts
    diskBytes = judgement.status == .good ? facts?.diskBytes : nil
    streams = judgement.status == .good ? facts?.streamReports ?? [] : []
  }

  enum CodingKeys: CodingKey {
    case type, path, verdict, exitCode, structure, field, offset, message, diskBytes, streams
  }
}

struct RecordReport: Encodable {
  let offset: UInt64
  let type: String
  let sequence: UInt64
  let stream: UInt32?
  let codec: String?
  let storedBytes: UInt32
  let rawBytes: UInt32?

  init(_ entry: RecordEntry) {
    offset = entry.offset
    type = entry.type.text
    sequence = entry.sequence
    storedBytes = entry.storedBytes
    let isOfStream = entry.type.isKnown && entry.type != .commit
    stream = isOfStream ? entry.stream : nil
    codec = entry.type == .chunk ? entry.codec.name.map { "\($0)" } : nil
    rawBytes = entry.type == .chunk ? entry.rawBytes : nil
  }
}

struct InspectReport: Encodable {
  let type = "inspection"
  let verdict: VerdictReport
  let header: HeaderReport?
  /// Streams that have ended, also of a disk that is not good.
  let streams: [StreamReport]
  let records: [RecordReport]
  /// The door lists so many at most (`DoorTask.list`).
  let recordsNotListed: UInt64

  init(_ judgement: Judgement, _ records: [RecordEntry]) {
    verdict = VerdictReport(judgement)
    header = judgement.verdict?.facts.header.map { HeaderReport($0.header) }
    streams = judgement.verdict?.facts.streamReports ?? []
    self.records = records.map(RecordReport.init)
    recordsNotListed = judgement.recordsBeyond(records)
  }

  enum CodingKeys: CodingKey { case type, verdict, header, streams, records, recordsNotListed }
}

extension DiskFacts {
  var streamReports: [StreamReport] {
    (0..<finishedStreams).map { StreamReport(summary($0)) }
  }
}

extension Judgement {
  /// Accepted records beyond those that the door has listed.
  func recordsBeyond(_ listed: [RecordEntry]) -> UInt64 {
    (verdict?.facts.recordCount ?? 0) - UInt64(listed.count)
  }

  /// What the disk said, if it could be asked.
  var diskError: DiskError? {
    if case .disk(let error)? = verdict?.failure { return error }
    return nil
  }

  var word: String {
    if status == .good { return "\(VerdictClass.good.word)" }
    return diskError.map { "\($0.verdict.word)" } ?? "error"
  }

  /// For `verify`: the path, the verdict, and what it rests on.
  var line: String {
    guard status == .good, let facts = verdict?.facts else {
      let text = reason?.text ?? ""
      return diskError == nil ? "\(path.text): error: \(text)" : "\(path.text): \(text)"
    }
    let streams = facts.streamReports.map {
      "\($0.name) \($0.rawBytes) bytes in \($0.storedBytes), xxh128 \($0.xxh128)"
    }
    return "\(path.text): good: \(facts.diskBytes) bytes; " + streams.joined(separator: "; ")
  }
}

extension RecordType {
  var text: String {
    switch self {
    case .streamBegin: return "stream begin"
    case .chunk: return "chunk"
    case .streamEnd: return "stream end"
    case .commit: return "commit"
    case .abort: return "abort"
    default:
      var plain = PlainText()
      plain.append("optional ")
      plain.append(hex: UInt64(number), minDigits: 8)
      return plain.text
    }
  }
}

extension Bytes16 {
  /// 8-4-4-4-12
  var uuidText: String {
    let digits = hexText
    var groups: [Substring] = []
    var rest = digits[...]
    for count in [8, 4, 4, 4, 12] {
      groups.append(rest.prefix(count))
      rest = rest.dropFirst(count)
    }
    return groups.joined(separator: "-")
  }
}
