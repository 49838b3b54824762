/// Why an offer came to nothing, in words that both sides know (formats/rendezvous.md, 2.3).
public enum FailureReason: UInt8, Hashable, Sendable, CaseIterable {
  /// The device did not appear, or could not be opened, read or written.
  case device
  /// The disk is not the one of the offer.
  case foreign
  /// What is on the disk is not a good save disk.
  case disk
  /// The disk is too small for the state.
  case small
  /// The state is larger than a limit.
  case large
  /// The guest runs, and must not be stopped.
  case runs
  /// QEMU waits for a state itself.
  case incoming
  /// QEMU does not wait for a state.
  case settled
  /// What QEMU has written is no state.
  case empty
  /// QEMU says that it cannot be saved; not in version 1.
  case blocked
  /// QEMU refused, did not answer, answered nonsense, or ended.
  case qemu
  /// The agent's own system failed.
  case system
  /// This agent takes no such offer.
  case verb

  var word: StaticString {
    switch self {
    case .device: "device"
    case .foreign: "foreign"
    case .disk: "disk"
    case .small: "small"
    case .large: "large"
    case .runs: "runs"
    case .incoming: "incoming"
    case .settled: "settled"
    case .empty: "empty"
    case .blocked: "blocked"
    case .qemu: "qemu"
    case .system: "system"
    case .verb: "verb"
    }
  }

  /// Nil if it is none of that version's words.
  init?(_ fields: MessageFields, _ index: Int, version: UInt32) {
    for reason in FailureReason.allCases
    where fields.is(index, reason.word) && reason.known(in: version) == reason {
      self = reason
      return
    }
    return nil
  }

  /// The same in an older version's words.
  func known(in version: UInt32) -> FailureReason {
    self == .blocked && version < RendezvousVersion.words ? .qemu : self
  }
}
