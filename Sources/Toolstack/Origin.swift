import Foundation
import SaveDisk
import SystemIO
import Transfer
import Xen

/// What dom0 itself knows of a state and puts into its trailer beside the agent's own lines: when
/// and of which guest it was saved, and which devices its QEMU had.
///
/// Its lines begin with "dom0 ", and a line of the agent's that does is dropped: a stubdomain cannot
/// speak for dom0. They are believed in the trailer of a state file alone, behind the last byte of what
/// the stubdomain had a hand in; an archive is all its own (formats/save-disk.md, section 5.3).
struct Origin: Sendable {
  let uuid: [UInt8]?
  let arguments: DeviceArguments?

  private static let prefix = [UInt8]("dom0 ".utf8)
  /// For the options themselves; their digest covers all of them in any case.
  private static let maxOptionsBytes = 3072

  /// dom0's lines and the agent's, as the stream `metadata` has them.
  func lines(with agents: [UInt8], at time: Date) -> [UInt8] {
    var text = PlainText()
    Origin.append("time", [UInt8](time.formatted(.iso8601).utf8), to: &text)
    if let uuid { Origin.append("uuid", uuid, to: &text) }
    if let arguments {
      var digest = PlainText()
      digest.append(hex: arguments.digest)
      Origin.append("devices", digest.bytes, to: &text)
      for option in arguments.options {
        if text.bytes.count + option.count > Origin.maxOptionsBytes { break }
        Origin.append("device", option, to: &text)
      }
    }
    var bytes = text.bytes
    for line in Origin.agents(agents).split(separator: UInt8(ascii: "\n")) {
      if UInt64(bytes.count + line.count + 1) > FormatLimits.maxMetadataBytes { break }
      bytes += line + [UInt8(ascii: "\n")]
    }
    return bytes
  }

  private static func append(_ key: StaticString, _ value: [UInt8], to text: inout PlainText) {
    text.append("dom0 ")
    text.append(key)
    text.append(" ")
    text.append(escaping: value, maxBytes: 1024)
    text.append("\n")
  }

  /// The lines that are the agent's.
  static func agents(_ metadata: [UInt8]) -> [UInt8] {
    metadata.split(separator: UInt8(ascii: "\n")).filter { !$0.starts(with: prefix) }
      .flatMap { $0 + [UInt8(ascii: "\n")] }
  }

  /// Whether there are lines that only dom0 may write.
  static func speaksForDom0(_ metadata: [UInt8]) -> Bool {
    metadata.split(separator: UInt8(ascii: "\n")).contains { $0.starts(with: prefix) }
  }

  /// What is to be told of metadata that somebody else than dom0 has written; nil if they do not claim
  /// to be dom0's.
  static func warning(foreign metadata: [UInt8]) -> PlainText? {
    if !speaksForDom0(metadata) { return nil }
    var text = PlainText()
    text.append("has lines that begin with \"dom0 \", which an archive cannot have from dom0: ")
    text.append("they are ignored")
    return text
  }

  /// The values of dom0's lines with that key.
  private static func values(_ key: String, in metadata: [UInt8]) -> [[UInt8]] {
    let start = prefix + [UInt8](key.utf8) + [UInt8(ascii: " ")]
    return metadata.split(separator: UInt8(ascii: "\n")).filter { $0.starts(with: start) }
      .map { [UInt8]($0.dropFirst(start.count)) }
  }

  /// Compares with what a state says of where it comes from.
  ///
  /// - Parameters:
  ///   - isForced: other devices are a warning only.
  ///   - option: by which a user says so.
  /// - Returns: warnings.
  /// - Throws: `.wouldDestroy` if it was saved with other devices.
  func check(
    _ metadata: [UInt8], _ path: SystemPath, isForced: Bool, option: StaticString = "--force"
  ) throws(ToolError) -> [PlainText] {
    var warnings: [PlainText] = []
    if let uuid, let theirs = Origin.values("uuid", in: metadata).first, theirs != uuid {
      var text = PlainText()
      text.append("is of the guest ")
      text.append(escaping: theirs)
      text.append(", this one is ")
      text.append(escaping: uuid)
      warnings.append(text)
    }
    guard let arguments, let theirs = Origin.values("devices", in: metadata).first else {
      return warnings
    }
    var digest = PlainText()
    digest.append(hex: arguments.digest)
    if theirs == digest.bytes { return warnings }
    let difference = Origin.Difference(
      DeviceArguments(options: Origin.values("device", in: metadata)), arguments, digest: theirs)
    warnings += difference.warnings
    guard let text = difference.refusal else { return warnings }
    if !isForced {
      throw ToolError(.wouldDestroy, path) {
        $0.append(text)
        $0.append("; ")
        $0.append(option)
        $0.append(" restores it all the same")
      }
    }
    warnings.append(text)
    return warnings
  }

  /// The machine's type that dom0 has recorded; nil if it has none.
  static func machine(in metadata: [UInt8]) -> MachineType? {
    DeviceArguments.machine(of: values("device", in: metadata))
  }

  /// The values of the agent's lines with that key.
  static func values(ofAgents key: String, in metadata: [UInt8]) -> [[UInt8]] {
    let start = [UInt8](key.utf8) + [UInt8(ascii: " ")]
    return metadata.split(separator: UInt8(ascii: "\n")).filter { $0.starts(with: start) }
      .map { [UInt8]($0.dropFirst(start.count)) }
  }
}
