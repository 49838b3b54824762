import QEMUState
import SaveDisk
import Toolstack

/// A section of a state of QEMU's.
struct SectionReport: Encodable {
  /// "whole" of a device; "start", "part" and "last part" of what is saved in pieces, RAM first of all.
  let kind: String
  let offset: UInt64
  let id: UInt32
  let name: String
  let instance: UInt32
  let version: UInt32
  let payloadBytes: UInt64
  /// QEMU's footer ends it; without one, its end was found by look.
  let isFramed: Bool

  init(_ section: StateSection) {
    var text = PlainText()
    text.append(escaping: section.name, maxBytes: 255)
    kind =
      switch section.kind {
      case .full: "whole"
      case .start: "start"
      case .part: "part"
      case .lastPart: "last part"
      }
    offset = section.offset
    id = section.id
    name = text.text
    instance = section.instance
    version = section.version
    payloadBytes = section.payloadBytes
    isFramed = section.isFramed
  }

  private var line: String {
    InspectText.right("\(offset)", 12) + InspectText.right("\(id)", 6)
      + InspectText.right("\(instance)", 10) + InspectText.right("\(version)", 9)
      + InspectText.right("\(payloadBytes)", 10) + "  \(name)"
      + (kind == "whole" ? "" : ", \(kind)")
  }

  /// For people.
  static func lines(_ sections: [SectionReport]) -> [String] {
    let way = SectionWay(sections)
    let mark = way == .footersAndLook
    var lines = [way.heading, "      offset    id  instance  version   payload  name"]
    lines += sections.map { $0.line + (mark && !$0.isFramed ? ", by look" : "") }
    if sections.count == StateSection.maxCount { lines.append("  ... and no more are listed") }
    return lines
  }
}

/// How the sections of a state were told from each other.
enum SectionWay: String, Encodable {
  case footers
  case look
  case footersAndLook = "footers-and-look"
  case none

  init(_ sections: [SectionReport]) {
    let framed = sections.count(where: \.isFramed)
    self =
      sections.isEmpty
      ? .none : framed == sections.count ? .footers : framed == 0 ? .look : .footersAndLook
  }

  var heading: String {
    switch self {
    case .footers: "sections, as QEMU's footers say"
    case .look:
      "sections, by their look: there are no footers, and a guest's bytes can look like one"
    case .footersAndLook: "sections, as QEMU's footers say; where one is missing, by their look"
    case .none: "sections: none"
    }
  }
}

extension StateHead {
  /// For JSON.
  var word: String {
    switch kind {
    case .deviceState: "device-state"
    case .migrationStream: "migration-stream"
    case .noSection: "no-section"
    case .otherVersion: "other-version"
    case .notAState: "no-state"
    case .cut: "cut"
    }
  }

  var name: String {
    switch kind {
    case .deviceState: "a device state of QEMU"
    case .migrationStream: "a whole migration stream of QEMU, with RAM"
    case .noSection, .otherVersion, .notAState, .cut: "begins as a state of QEMU"
    }
  }

  var machineText: String? {
    machine.map {
      var text = PlainText()
      text.append(escaping: $0, maxBytes: 64)
      return text.text
    }
  }
}
