import SaveDisk
import SystemIO
import Toolstack
import Transfer

/// `verify --replay`
struct ReplayReport: Encodable {
  let type = "replay"
  let judged: Int
  let rewritten: Int
  let differences: [String]

  enum CodingKeys: CodingKey { case type, judged, rewritten, differences }

  static func run(_ directory: SystemPath, json: Bool) throws(ToolError) -> ExitStatus {
    var replay = Replay(directory: directory)
    try replay.run()
    let report = ReplayReport(
      judged: replay.judged, rewritten: replay.rewritten,
      differences: replay.differences.map(\.text))
    if json {
      try Console.say(json: report)
    } else {
      try Console.say(
        "\(report.judged) fixtures judged, \(report.differences.count) not as recorded; "
          + "\(report.rewritten) good ones written again to the same bytes")
    }
    for difference in replay.differences { Console.complain(difference) }
    return replay.differences.isEmpty ? .good : .internalError
  }
}
