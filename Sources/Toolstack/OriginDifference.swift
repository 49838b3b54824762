import SaveDisk
import Xen

extension Origin {
  /// Between the devices of a QEMU that has saved a state and of one that is to take it, in words
  /// (docs/devices.md).
  struct Difference {
    private(set) var warnings: [PlainText] = []
    /// Why it cannot be taken; nil if it can.
    private(set) var refusal: PlainText?

    /// - Parameters:
    ///   - saved: what dom0 has written down, which may be only the first of them.
    ///   - digest: of all of them.
    init(_ saved: DeviceArguments, _ restored: DeviceArguments, digest: [UInt8]) {
      var text = PlainText()
      text.append(hex: saved.digest)
      if text.bytes != digest {
        if let machine = saved.machine, let ours = restored.machine, machine.family == ours.family {
          var other = PlainText()
          other.append(hex: restored.with(machine).digest)
          if other.bytes == digest {
            warn(of: machine, ours)
            return
          }
        }
        refuse(Difference.first(saved.options, restored.options))
        return
      }
      let found = DeviceComparison(saved: saved.options, restored: restored.options)
      if let options = found.refusal {
        refuse(options)
        return
      }
      if let machines = found.machines { warn(of: machines.saved, machines.restored) }
      warn("this QEMU has more devices than the one that saved it, as after a reset: ", found.more)
      warn("this QEMU lacks drives that the one that saved it had: ", found.less)
    }

    private mutating func warn(_ what: StaticString, _ options: [[UInt8]]) {
      guard let first = options.first else { return }
      var text = PlainText()
      text.append(what)
      text.append(escaping: first, maxBytes: 256)
      if options.count > 1 {
        text.append(" and ")
        text.append(UInt64(options.count - 1))
        text.append(" more")
      }
      warnings.append(text)
    }

    private mutating func warn(of theirs: MachineType, _ ours: MachineType) {
      var text = PlainText()
      text.append("was saved by a QEMU with the machine ")
      text.append(escaping: theirs.name, maxBytes: 64)
      text.append(", this one has ")
      text.append(escaping: ours.name, maxBytes: 64)
      text.append(": another version of the same")
      warnings.append(text)
    }

    private mutating func refuse(_ options: (saved: [UInt8]?, restored: [UInt8]?)) {
      var text = PlainText()
      text.append("was saved by a QEMU with other devices: ")
      if let saved = options.saved {
        text.append("it had ")
        text.append(escaping: saved, maxBytes: 256)
        if options.restored != nil { text.append(", ") }
      }
      if let restored = options.restored {
        text.append("this one has ")
        text.append(escaping: restored, maxBytes: 256)
      }
      if options.saved == nil && options.restored == nil {
        text.append("more than the first of them were not written down")
      }
      refusal = text
    }

    /// What one has and the other has not.
    private static func first(
      _ theirs: [[UInt8]], _ ours: [[UInt8]]
    ) -> (saved: [UInt8]?, restored: [UInt8]?) {
      (
        theirs.first { !ours.contains($0) }, ours.first { !theirs.contains($0) }
      )
    }
  }
}
