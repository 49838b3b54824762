import SaveDisk
import Toolstack
import Xen

/// What `list --json` gives.
struct ListReport: Encodable {
  let type = "stubdomains"
  let stubdomains: [StubdomainReport]
  enum CodingKeys: CodingKey { case type, stubdomains }
}

struct StubdomainReport: Encodable {
  let domid: UInt32
  let name: String
  let targetDomid: UInt32
  let targetName: String
  /// The stubdomain's own word; absent if it has said nothing.
  let agent: String?
  let isBusy: Bool
  let hasOrphanedOffer: Bool
  let disks: [Disk]
  let proxy: String?
  /// `runs`, `paused`, `suspended`, `shutDown`; absent where Xen cannot be asked.
  let state: String?
  /// There was a proxy, and it was killed.
  let isProxyLost: Bool

  struct Disk: Encodable {
    let device: String
    /// `command` or `user`: who takes it away.
    let owner: String
  }

  init(_ summary: StubdomainSummary) {
    domid = summary.domid
    name = summary.name.text
    targetDomid = summary.target
    targetName = summary.targetName.text
    agent = summary.agent.bytes.isEmpty ? nil : summary.agent.text
    isBusy = summary.isBusy
    hasOrphanedOffer = summary.hasOrphanedOffer
    disks = summary.disks.map {
      Disk(device: $0.name.text, owner: $0.isUsers ? "user" : "command")
    }
    proxy = summary.proxy.bytes.isEmpty ? nil : summary.proxy.text
    state = summary.state.map { "\($0)" }
    isProxyLost = summary.isProxyLost
  }
}

/// `list` for people.
enum ListText {
  private static let titles = ["DOMID", "NAME", "GUEST", "AGENT", "TRANSFER", "DISKS", "PROXY"]

  /// A title line and one for each stubdomain, in columns.
  static func lines(_ summaries: [StubdomainSummary]) -> [String] {
    let rows = [titles] + summaries.map(cells)
    let widths = titles.indices.map { column in rows.map { $0[column].count }.max() ?? 0 }
    return rows.map { row in
      let padded = zip(row, widths).map { cell, width in
        cell + String(repeating: " ", count: width - cell.count)
      }
      let line = padded.joined(separator: "  ")
      return String(line.reversed().drop { $0 == " " }.reversed())
    }
  }

  private static func cells(_ summary: StubdomainSummary) -> [String] {
    let disks = summary.disks.map { disk in
      disk.name.text + (disk.isUsers || summary.isBusy ? "" : "!")
    }
    let transfer = summary.isBusy ? "busy" : summary.hasOrphanedOffer ? "offer!" : idle(summary)
    return [
      "\(summary.domid)", word(summary.name), "\(summary.target) \(summary.targetName.text)",
      word(summary.agent), transfer, disks.isEmpty ? "-" : disks.joined(separator: ","),
      summary.isProxyLost ? "lost!" : word(summary.proxy),
    ]
  }

  /// Why there can be none, if that is so.
  private static func idle(_ summary: StubdomainSummary) -> String {
    switch summary.state {
    case nil, .runs: "-"
    case .paused: "paused"
    case .suspended: "suspended"
    case .shutDown: "ended"
    }
  }

  private static func word(_ text: PlainText) -> String {
    text.bytes.isEmpty ? "-" : text.text
  }
}
