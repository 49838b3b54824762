import SaveDisk

/// Who lets a guest go on that a client of the relay's has had stopped (formats/rendezvous.md, section
/// 8.1): the client itself; if that goes, and has had no state for it, the relay.
///
/// A guest that somebody else has stopped is never let go on here, and none whose state somebody has.
public struct GuestStop: Sendable, Hashable {
  public enum State: Sendable, Hashable {
    /// It runs, or it is not ours to let it go on.
    case none
    /// This client has stopped it.
    case held(UInt64)
    /// It stands, and whoever has stopped it is there no more.
    case abandoned
  }

  public private(set) var state: State = .none
  /// QEMU has said that its guest stands, for whomever.
  private var isStanding = false

  public init() {}

  /// Another relay has left it so, which was killed.
  public mutating func inherit() {
    state = .abandoned
    isStanding = true
  }

  /// QEMU says that its guest stands; it says so of none that stood already.
  ///
  /// - Parameter cause: the command that it is at; nil if none of ours has stopped it.
  public mutating func guestStopped(by cause: QMPRelay.StopCause?) {
    isStanding = true
    switch cause {
    case .client(let client): state = .held(client)
    case .goneClient: state = .abandoned
    case nil: state = .none
    }
  }

  /// QEMU was lost while it was at a `stop`: the guest may stand.
  public mutating func loseQEMU(at cause: QMPRelay.StopCause?) {
    if let cause, !isStanding { guestStopped(by: cause) }
  }

  /// QEMU says that its guest runs, or has done `cont`.
  public mutating func guestRuns() {
    state = .none
    isStanding = false
  }

  /// A client says something that has it take over what another one has begun.
  public mutating func pass(_ kind: QMPRelay.Kind, of client: UInt64) {
    if state != .none && (kind == .stop || kind == .save) { state = .held(client) }
  }

  /// A client has heard that the state was saved: the guest may go on elsewhere.
  public mutating func stateIsSaved() { state = .none }

  public mutating func clientIsGone(_ client: UInt64) {
    if state == .held(client) { state = .abandoned }
  }
}
