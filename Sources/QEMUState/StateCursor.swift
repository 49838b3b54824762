import SaveDisk

/// Reads forward over a state, big-endian, as QEMU writes it; nil where it ends too early.
struct StateCursor: ~Escapable {
  private let bytes: RawSpan
  private(set) var position = 0
  /// More was wanted than there is.
  private(set) var isAtEnd = false

  @_lifetime(copy bytes)
  init(_ bytes: RawSpan, at position: Int = 0) {
    self.bytes = bytes
    self.position = position
  }

  /// The next byte, not taken.
  var peek: UInt8? { position < bytes.byteCount ? bytes.byte(at: position) : nil }

  mutating func skip(_ count: Int) {
    if count > bytes.byteCount - position { isAtEnd = true }
    position += min(count, bytes.byteCount - position)
  }

  mutating func byte() -> UInt8? {
    guard let byte = peek else {
      isAtEnd = true
      return nil
    }
    position += 1
    return byte
  }

  mutating func uint32() -> UInt32? {
    guard bytes.byteCount - position >= 4 else {
      isAtEnd = true
      return nil
    }
    var value: UInt32 = 0
    for index in position..<(position + 4) {
      value = value << 8 | UInt32(bytes.byte(at: index))
    }
    position += 4
    return value
  }

  mutating func bytes(_ count: Int) -> [UInt8]? {
    guard count <= bytes.byteCount - position else {
      isAtEnd = true
      return nil
    }
    defer { position += count }
    return (position..<(position + count)).map { bytes.byte(at: $0) }
  }

  /// Whether the next bytes are these; they are taken then.
  mutating func matches(_ text: StaticString) -> Bool {
    let count = text.utf8CodeUnitCount
    guard count <= bytes.byteCount - position else { return false }
    for index in 0..<count {
      let wanted = unsafe text.utf8Start[index]
      if bytes.byte(at: position + index) != wanted { return false }
    }
    position += count
    return true
  }
}

extension StateCursor {
  /// The subsections of the configuration section, behind the machine's name: those that QEMU has
  /// (vmstate_configuration). Stops before one that it has not.
  mutating func skipConfiguration() {
    while peek == SectionMark.subsection {
      var ahead = self
      ahead.skip(1)
      guard let count = ahead.byte(), let name = ahead.bytes(Int(count)), ahead.uint32() != nil
      else { return }
      if name.isText("configuration/target-page-bits") {
        ahead.skip(4)
      } else if name.isText("configuration/uuid") {
        ahead.skip(16)
      } else if name.isText("configuration/capabilities") {
        guard let count = ahead.uint32() else { return }
        for _ in 0..<count {
          guard let bytes = ahead.byte() else { return }
          ahead.skip(Int(bytes))
        }
      } else {
        return
      }
      if ahead.isAtEnd { return }
      self = ahead
    }
  }

  /// What begins here, by its first byte.
  func kindOfFirstSection() -> StateHead.Kind {
    guard let mark = peek else { return .cut }
    switch mark {
    // Only `migrate` writes a configuration section, and thus a part of one that is not known here.
    case SectionMark.start, SectionMark.part, SectionMark.lastPart, SectionMark.command,
      SectionMark.subsection:
      return .migrationStream
    case SectionMark.full:
      var ahead = self
      guard let header = SectionHeader(&ahead) else { return ahead.isAtEnd ? .cut : .noSection }
      return header.isOfEarlySetup ? .migrationStream : .deviceState
    default: return .noSection
    }
  }
}

/// A section's header: its type, its id and, where it begins, name, instance and version.
struct SectionHeader {
  let id: UInt32
  let name: [UInt8]
  let instance: UInt32
  let version: UInt32

  /// Of a whole section or of one's start. Nil if it is none: names are printable.
  init?(_ cursor: inout StateCursor) {
    cursor.skip(1)
    guard let id = cursor.uint32(), let count = cursor.byte(),
      let name = cursor.bytes(Int(count)), let instance = cursor.uint32(),
      let version = cursor.uint32(), !name.isEmpty, name.allSatisfy({ $0 > 0x20 && $0 < 0x7F })
    else { return nil }
    self.id = id
    self.name = name
    self.instance = instance
    self.version = version
  }

  /// virtio-mem's, which `migrate` writes before RAM and `xen-save-devices-state` within a device's
  /// own (hw/virtio/virtio-mem.c, since QEMU 8.0).
  var isOfEarlySetup: Bool {
    let wanted: StaticString = "virtio-mem-device-early"
    return name.suffix(wanted.utf8CodeUnitCount).isText(wanted)
  }
}

extension Collection<UInt8> {
  /// Whether these are the text's bytes: Embedded Swift compares no strings without Unicode's tables.
  func isText(_ text: StaticString) -> Bool {
    unsafe elementsEqual(
      UnsafeBufferPointer(start: text.utf8Start, count: text.utf8CodeUnitCount))
  }
}
