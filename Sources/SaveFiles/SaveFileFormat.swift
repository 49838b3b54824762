import SaveDisk

/// A toolstack's file with a saved guest in it (formats/containers.md).
public enum SaveFileFormat: UInt32, Sendable, BitwiseCopyable, CaseIterable {
  case xl = 1
  case libvirt = 2
  case libxl = 3
  case xenopsd = 4
  /// QEMU's state by itself, with or without a trailer.
  case state = 5
  /// A single EMULATOR_CONTEXT record, as `wrap` makes it.
  case emulatorContext = 6

  public var name: StaticString {
    switch self {
    case .xl: "xl save file"
    case .libvirt: "libvirt save file"
    case .libxl: "libxl stream"
    case .xenopsd: "xenopsd suspend image"
    case .state: "state file"
    case .emulatorContext: "EMULATOR_CONTEXT record"
    }
  }

  /// What such a file begins with.
  public var magic: StaticString {
    switch self {
    case .xl: "Xen saved domain, xl format\n \0 \r"
    case .libvirt: "libvirt-xml\n \0 \r"
    case .libxl: "LibxlFmt"
    case .xenopsd: "XenSavedDomv2-\n"
    case .state: "QEVM"
    // Begins with numbers: type, body_length, emulator_id, index.
    case .emulatorContext: "QEVM"
    }
  }

  /// Of `magic`.
  public var magicBytes: Int { magic.utf8CodeUnitCount }

  /// xenopsd's format before the one that is known here.
  static let legacyImageMagic: StaticString = "XenSavedDomain\n"

  /// As many bytes as any of them has.
  public static let maxMagicBytes = 32

  /// The format of a file that begins like this.
  ///
  /// - Parameter bytes: its first `maxMagicBytes`, or all if it has fewer.
  public init?(_ bytes: RawSpan) {
    for format in SaveFileFormat.allCases
    where format != .emulatorContext && bytes.begins(with: format.magic) {
      self = format
      return
    }
    if EmulatorContext.begins(bytes) {
      self = .emulatorContext
      return
    }
    guard bytes.begins(with: SaveFileFormat.legacyImageMagic) else { return nil }
    self = .xenopsd
  }
}

extension RawSpan {
  func begins(with text: StaticString) -> Bool {
    let count = text.utf8CodeUnitCount
    guard byteCount >= count else { return false }
    for index in 0..<count where unsafe byte(at: index) != text.utf8Start[index] { return false }
    return true
  }
}
