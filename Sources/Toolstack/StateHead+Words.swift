import QEMUState
import SaveDisk
import SystemIO
import Transfer

extension StateHead {
  /// Why it is no device state that a QEMU could be given; nil if it is one.
  public func error(_ path: SystemPath) -> ToolError? {
    guard let status else { return nil }
    return ToolError(status, path) { $0.append(words) }
  }

  private var status: ExitStatus? {
    switch kind {
    case .deviceState: nil
    case .migrationStream, .notAState: .notASaveDisk
    case .noSection: .corrupt
    case .otherVersion: version == 0 ? .corrupt : .unsupported
    case .cut: .incomplete
    }
  }

  private var words: PlainText {
    var text = PlainText()
    switch kind {
    case .deviceState: text.append("is a device state of QEMU")
    case .migrationStream:
      text.append("is a whole migration stream of QEMU")
      if let machine {
        text.append(" (machine ")
        text.append(escaping: machine, maxBytes: 64)
        text.append(")")
      }
      text.append(", with RAM, and no device state; `write` and `read` carry such a stream")
    case .noSection:
      text.append("begins as a device state of QEMU, but has no section at offset ")
      text.append(offset)
    case .otherVersion:
      text.append("begins as a state of QEMU, with version ")
      text.append(UInt64(version))
      text.append(" at offset ")
      text.append(offset)
      text.append("; 3 is the only one that QEMU loads")
    case .notAState: text.append("is no state of QEMU's: it does not begin with \"QEVM\"")
    case .cut:
      text.append("begins as a state of QEMU, but ends at offset ")
      text.append(offset)
      text.append(", before its first section")
    }
    return text
  }
}
