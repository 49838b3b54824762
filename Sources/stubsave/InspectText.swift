import SaveDisk
import Toolstack
import Transfer

/// `inspect` for people.
enum InspectText {
  static func lines(_ judgement: Judgement, _ records: [RecordEntry]) -> [String] {
    var lines = ["\(judgement.path.text): \(judgement.status == .good ? "good" : judgement.word)"]
    if let header = judgement.verdict?.facts.header {
      lines += headerLines(HeaderReport(header.header))
    }
    if let streams = judgement.verdict?.facts.streamReports, !streams.isEmpty {
      lines.append("streams")
      for stream in streams {
        lines.append(
          "  \(stream.name): \(stream.rawBytes) bytes in \(stream.chunkCount) "
            + "\(stream.chunkCount == 1 ? "chunk" : "chunks"), "
            + "\(stream.storedBytes) bytes stored, xxh128 \(stream.xxh128)")
      }
    }
    if !records.isEmpty {
      lines.append("records")
      lines.append("      offset  seq  stream  type           codec  stored -> raw bytes")
      lines += records.map(recordLine)
      let more = judgement.recordsBeyond(records)
      if more > 0 { lines.append("  ... and \(more) more") }
    }
    if let reason = judgement.reason { lines.append("then: \(reason.text)") }
    return lines
  }

  private static func headerLines(_ header: HeaderReport) -> [String] {
    var lines = [
      "header",
      "  direction       \(header.direction)",
      "  transfer id     \(header.transferID)",
      "  capacity        \(header.capacityBytes == 0 ? "grows" : "\(header.capacityBytes) bytes")",
      "  chunk size      \(header.chunkBytes) bytes",
      "  most raw bytes  \(header.maxRawBytes == 0 ? "not stated" : "\(header.maxRawBytes)")",
      "  most streams    \(header.maxStreams)",
      "  codecs          \(header.allowedCodecs.joined(separator: " "))",
    ]
    if let domid = header.recipientDomid { lines.append("  stubdomain      \(domid)") }
    if let domid = header.targetDomid { lines.append("  HVM guest       \(domid)") }
    if let uuid = header.targetUUID { lines.append("  guest's UUID    \(uuid)") }
    if let features = header.compatibleFeatures {
      lines.append("  features        0x\(String(features, radix: 16)), not known and not needed")
    }
    return lines
  }

  private static func recordLine(_ entry: RecordEntry) -> String {
    let record = RecordReport(entry)
    let bytes = record.rawBytes.map { "\(record.storedBytes) -> \($0)" } ?? "\(record.storedBytes)"
    return right("\(record.offset)", 12) + right("\(record.sequence)", 5)
      + right(record.stream.map { "\($0)" } ?? "", 8) + "  " + left(record.type, 15)
      + left(record.codec ?? "", 7) + bytes
  }

  static func right(_ text: String, _ width: Int) -> String {
    String(repeating: " ", count: max(0, width - text.count)) + text
  }

  static func left(_ text: String, _ width: Int) -> String {
    text + String(repeating: " ", count: max(0, width - text.count))
  }
}
