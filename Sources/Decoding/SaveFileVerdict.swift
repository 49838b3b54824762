import QEMUState
import SaveDisk
import SaveFiles
import SystemIO
import Transfer

/// What is to be done with a file that may be a toolstack's.
public enum SaveFileTask: Sendable, BitwiseCopyable {
  /// Judge it; something else is judged as a save disk. QEMU's state goes to the output.
  case verify
  /// The same, and lists: of a save file entries and sections go behind the state.
  case list
  /// QEMU's state goes to the output; something else is refused.
  case extract
}

/// What is said of a save file.
///
/// The output holds the state with its trailer, then entries of `SaveFileEntry`, then sections.
public struct SaveFileVerdict: Sendable {
  /// What is wrong with the container; nil if nothing is.
  public let failure: SaveFileFailure?
  public let facts: SaveFileFacts
  /// On the state; nil if there is none.
  public let trailer: TrailerFinding?
  /// What the state is; nil if there is none, unless it is a whole migration stream that is too large.
  public let head: StateHead?
  public let stateBytes: UInt64
  public let entriesBytes: UInt64
  public let sectionsBytes: UInt64
  public let isInOverflow: Bool

  public var outputBytes: UInt64 { stateBytes + entriesBytes + sectionsBytes }

  /// A file that is none, or has not been looked at.
  init(failure: SaveFileFailure) {
    self.init(
      failure: failure, facts: SaveFileFacts(), trailer: nil, head: nil, stateBytes: 0,
      entriesBytes: 0, sectionsBytes: 0, isInOverflow: false)
  }

  init(
    failure: SaveFileFailure?, facts: SaveFileFacts, trailer: TrailerFinding?, head: StateHead?,
    stateBytes: UInt64, entriesBytes: UInt64, sectionsBytes: UInt64, isInOverflow: Bool
  ) {
    self.failure = failure
    self.facts = facts
    self.trailer = trailer
    self.head = head
    self.stateBytes = stateBytes
    self.entriesBytes = entriesBytes
    self.sectionsBytes = sectionsBytes
    self.isInOverflow = isInOverflow
  }

  /// What is wrong with the container or, if that is good, with the state's trailer, its offset
  /// counted from the start of the file.
  public enum Problem: Equatable, Sendable {
    case container(SaveFileFailure)
    case trailer(DiskError)
  }

  public var problem: Problem? {
    if let failure { return .container(failure) }
    switch trailer {
    case .failed(let error)?: return .trailer(error.moved(by: facts.state?.offset ?? 0))
    case .unreadable(let error)?: return .container(.output(error))
    default: return nil
    }
  }
}

/// All that can be said of a file.
public enum Judged: Sendable {
  case disk(DoorVerdict)
  case saveFile(SaveFileVerdict)
}
