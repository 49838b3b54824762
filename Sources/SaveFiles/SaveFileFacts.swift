import SaveDisk

/// What is known of a save file when its reading ends, good or not.
public struct SaveFileFacts: Sendable, BitwiseCopyable {
  /// Nil if it is none.
  public var format: SaveFileFormat?
  /// Up to where it has been found right; of a good file its length, without what may follow.
  public var bytes: UInt64 = 0
  /// Behind the end of a good one: what nobody reads.
  public var bytesBehind: UInt64 = 0
  /// Headers and records.
  public var entryCount: UInt64 = 0
  /// Once all of it has been copied.
  public var state: SavedState?

  public init() {}

  /// Bytes follow an END that is zeros, as lost records are: without QEMU's state, which comes last,
  /// nothing says how many records there were.
  public var isEndUncertain: Bool {
    guard bytesBehind > 0, state == nil else { return false }
    switch format {
    case .xl, .libvirt, .libxl: return true
    case .xenopsd, .state, .emulatorContext, nil: return false
    }
  }
}

extension SaveFileError {
  /// Of a state that is larger than it may be: where it begins.
  public var stateOffset: UInt64 {
    switch structure {
    case .emulatorContext: offset + 12
    case .qemuTrad, .qemuXen: offset + 8
    default: offset
    }
  }
}

/// Where QEMU's state is in a save file.
public struct SavedState: Equatable, Sendable, BitwiseCopyable {
  /// From the start of the file.
  public let offset: UInt64
  /// With its trailer, if it has one.
  public let bytes: UInt64
  /// The record that holds it.
  public let structure: SaveFileStructure
  public let recordOffset: UInt64

  public init(
    offset: UInt64, bytes: UInt64, structure: SaveFileStructure, recordOffset: UInt64
  ) {
    self.offset = offset
    self.bytes = bytes
    self.structure = structure
    self.recordOffset = recordOffset
  }

  /// That it is larger than it may be.
  public var overLimit: SaveFileError {
    let (field, place): (SaveFileField, UInt64) =
      switch structure {
      case .stateFile: (.end, 0)
      case .emulatorContext: (.bodyLength, 4)
      default: (.length, 8)
      }
    return SaveFileError(
      .overLimit, structure, field, at: recordOffset + place, found: bytes)
  }
}
