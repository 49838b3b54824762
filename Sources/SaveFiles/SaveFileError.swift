import SaveDisk

/// Why a save file is not good: what, where, and the number behind it. Fixed size, no text from the
/// file.
public struct SaveFileError: Error, Equatable, Sendable, BitwiseCopyable {
  /// Never `.good`.
  public let verdict: VerdictClass
  public let structure: SaveFileStructure
  public let field: SaveFileField
  /// From the start of the input, in bytes.
  public let offset: UInt64
  /// What was there, where it is a number; 0 where it is not.
  public let found: UInt64

  public init(
    _ verdict: VerdictClass, _ structure: SaveFileStructure, _ field: SaveFileField,
    at offset: UInt64, found: UInt64 = 0
  ) {
    self.verdict = verdict
    self.structure = structure
    self.field = field
    self.offset = offset
    self.found = found
  }

  /// One line: verdict, where, what; numbers only, nothing that the file could choose freely.
  public func describe(into text: inout PlainText) {
    text.append(verdict == .notASaveDisk ? "not a save file" : verdict.word)
    text.append(": offset ")
    text.append(offset)
    text.append(", ")
    text.append(structure.name)
    text.append(" ")
    text.append(field.name)
    text.append(": ")
    explain(into: &text)
  }

  private func explain(into text: inout PlainText) {
    switch (verdict, field) {
    case (.notASaveDisk, _):
      if let foreign = ForeignFormat(rawValue: UInt8(clamping: found)) {
        text.append(foreign.advice)
      } else {
        text.append("begins as no save file does that is known here")
      }
    case (.overLimit, .trailing):
      text.append(found)
      text.append(" zeros follow, which is more than a state is filled up with")
    case (.overLimit, _):
      text.append("a state of ")
      text.append(found)
      text.append(" bytes is over the limit; --max-state raises it")
    case (_, .end): text.append("cut off here")
    case (.corrupt, .trailing) where found != 0:
      text.append("only zeros may follow the record, this is ")
      text.append(hex: found)
    case (_, .trailing):
      text.append("bytes follow, but no end of the guest has come: cut and padded")
    case (_, .reserved), (_, .padding), (_, .unused): text.append("is not zero")
    case (.unsupported, .signature): text.append("xenopsd's older format, XenSavedDomain")
    case (.unsupported, .type) where isOfState:
      text.append("a second state of QEMU's, as in a stream of Remus")
    case (.unsupported, .type) where structure == .libxcLegacy:
      text.append("memory as Xen 4.4 or older wrote it; xenopsd converts it")
    case (.unsupported, .mandatoryFlags) where found & ~3 == 0:
      text.append("a stream of Xen 4.5 or older; ")
      text.append("Xen's convert-legacy-stream --format libxl --xl makes a newer one")
    case (.unsupported, .version) where structure == .libvirtHeader && found == 1:
      text.append("a stream of Xen 4.5 or older; virsh restore converts it")
    case (.corrupt, .type):
      text.append("type ")
      text.append(hex: found)
      text.append(" may not stand here")
    case (_, .mandatoryFlags), (_, .options):
      text.append(hex: found)
      text.append(" is not understood here")
    case (.unsupported, .length): text.append("a record without its length")
    case (.unsupported, _):
      text.append(hex: found)
      text.append(" is not known here")
    case (_, .emulatorCtx), (_, .record): text.append("is no device state of QEMU's")
    case (_, .xenstoreData): text.append("no pairs of key and value")
    case (_, .xml): text.append("does not end with a zero")
    case (_, .magic), (_, .ident), (_, .marker), (_, .id), (_, .pfn):
      text.append("is not what must stand here")
    default:
      text.append(found)
      text.append(" is not possible here")
    }
  }

  private var isOfState: Bool {
    switch structure {
    case .emulatorContext, .qemuTrad, .qemuXen: true
    default: false
    }
  }
}
