import SaveDisk

/// One of QEMU's options, as far as the state of a machine depends on it.
struct DeviceOption {
  enum Kind {
    case machine, processors, serial, drive, device, usbDevice, other
  }

  let text: [UInt8]
  let kind: Kind
  private let parts: [String]

  init(_ text: [UInt8]) {
    self.text = text
    let words = String(decoding: text, as: UTF8.self).split(separator: " ", maxSplits: 1)
    parts = words.count < 2 ? [] : words[1].split(separator: ",").map(String.init)
    switch words.first {
    case "-machine", "-M": kind = .machine
    case "-smp": kind = .processors
    case "-serial": kind = .serial
    case "-drive": kind = .drive
    case "-device": kind = .device
    case "-usbdevice": kind = .usbDevice
    default: kind = .other
    }
  }

  /// Of a drive: what is behind it in dom0 or a stubdomain, and how that is used.
  private static let behindDrive = [
    "file", "format", "driver", "cache", "aio", "discard", "detect-zeroes", "werror", "rerror",
  ]
  /// Of a machine: how QEMU works, and what it writes where it has its configuration section.
  private static let behindMachine = [
    "suppress-vmdesc", "dump-guest-core", "mem-merge", "memory-backend",
  ]

  /// What must be the same; of a machine the family.
  var essence: [String] {
    switch kind {
    case .machine:
      let type = DeviceArguments.machine(of: [text])
      let family = type.map { String(decoding: $0.family, as: UTF8.self) } ?? ""
      let name = type.map { String(decoding: $0.name, as: UTF8.self) } ?? ""
      return [family]
        + parts.filter {
          $0 != name && $0 != "type=\(name)" && !Self.behindMachine.contains(key($0))
        }
    case .processors: return parts.filter { $0 != parts.first { isCount($0) } }
    case .serial: return []
    case .drive: return ["-drive"] + parts.filter { !Self.behindDrive.contains(key($0)) }
    case .device, .usbDevice, .other: return [String(decoding: text, as: UTF8.self)]
    }
  }

  private func key(_ part: String) -> String { String(part.prefix { $0 != "=" }) }
  private func value(_ key: String) -> String? {
    parts.first { $0.hasPrefix("\(key)=") }.map { String($0.dropFirst(key.count + 1)) }
  }

  private func isCount(_ part: String) -> Bool { UInt32(part) != nil || part.hasPrefix("cpus=") }

  /// That are there from the start.
  var processors: UInt32 {
    let part = parts.first { isCount($0) } ?? "1"
    return UInt32(part.hasPrefix("cpus=") ? String(part.dropFirst(5)) : part) ?? 1
  }

  var isNone: Bool { parts == ["none"] }

  var hasPlaceInOrder: Bool {
    switch kind {
    case .machine, .processors, .serial: false
    case .drive, .device, .usbDevice, .other: true
    }
  }

  /// Its machine's controller has a place for it whether or not it is there, and saves that in any case.
  private var isOfIDE: Bool {
    switch kind {
    case .drive: ["ide", "none"].contains(value("if") ?? "ide")
    case .device: ["ide-cd", "ide-hd"].contains(parts.first)
    default: false
    }
  }

  var mayBeMissing: Bool { isOfIDE }

  /// Options of a board's own devices come before all others, and would move their addresses.
  var mayBeMore: Bool {
    kind == .device || kind == .usbDevice || isOfIDE
      || ["-usb", "-parallel"].contains { text.starts(with: $0.utf8) && parts.count < 2 }
  }

  /// It takes no other's place, wherever among the others it stands.
  var hasAddress: Bool {
    switch kind {
    case .device: ["addr", "unit", "scsi-id"].contains { value($0) != nil }
    case .usbDevice: false
    default: true
    }
  }
}
