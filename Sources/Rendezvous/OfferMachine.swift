import SaveDisk

/// dom0's side of one offer, without any input or output (formats/rendezvous.md, section 3).
public struct OfferMachine: Hashable, Sendable {
  public enum State: Hashable, Sendable {
    case offered
    case accepted
    case ended(Ending)
  }

  /// How an offer ended. What counts is on the disk: none of these is a success by itself.
  public enum Ending: Hashable, Sendable {
    /// A final answer that fits the verb.
    case answered(AnswerKind)
    /// The agent does not know the offer; it knows up to `version`.
    case unsupported(version: UInt32)
    case nonsense
    /// No answer before the first deadline.
    case silence
    /// No final answer before the last deadline.
    case deadline
    /// The domain has died, or the carrier is gone.
    case gone
    /// This side gives up: a signal.
    case interrupted
  }

  public enum Event: Hashable, Sendable {
    /// What is in the agent's cell now, whether or not it has changed.
    case answer(Reading<Answer>)
    case firstDeadline
    case lastDeadline
    case gone
    case interrupted
  }

  public let wanted: Wanted
  public private(set) var state = State.offered
  /// An agent has said that it stops a guest that runs, and none yet that it goes on.
  public private(set) var hasStoppedGuest = false

  public init(_ wanted: Wanted) { self.wanted = wanted }

  private var id: Bytes16 { wanted.id }

  /// For dom0's cell until it has ended; idle from then on.
  public var offer: Offer {
    if case .ended = state { return .idle }
    return .wanted(wanted)
  }

  public var ending: Ending? {
    if case .ended(let ending) = state { return ending }
    return nil
  }

  /// What was in the agent's cell after the end, when nothing more comes: it changes no ending, but
  /// tells of the guest.
  public mutating func hearLast(_ reading: Reading<Answer>) {
    if case .message(let answer) = reading, answer.id == wanted.id { note(answer.guest) }
  }

  /// An agent that finds the guest standing may follow one that has stopped it and died: what that
  /// one said holds until somebody says that the guest runs.
  private mutating func note(_ guest: GuestState?) {
    switch guest {
    case .stopped?: hasStoppedGuest = true
    case .running?: hasStoppedGuest = false
    case .paused?, .unknown?, nil: break
    }
  }

  /// The same once more, in the version that the agent knows instead; nil if it has not ended so, or
  /// that version is not known here or no lower one (formats/rendezvous.md, section 6). Nor if another
  /// agent, which has died, has stopped the guest for it: `cont` comes first then.
  ///
  /// - Parameter id: another one.
  public func inVersionOfAgent(id: Bytes16, milliseconds: UInt64) -> Wanted? {
    guard case .unsupported(let version)? = ending, version < wanted.version,
      RendezvousVersion.isKnown(version), !hasStoppedGuest
    else { return nil }
    return Wanted(id: id, version: version, wanted.verb, milliseconds: milliseconds)
  }

  /// It has failed, and left a guest stopped that nobody has let go on, or tried to: `cont` is owed
  /// to it (section 3.1).
  public var owesCont: Bool {
    switch ending {
    case nil: false
    // The agent that has stopped it has tried itself; another one, that came after it, has not.
    case .answered(.failed(_, _, let guest, _, words: _))?: hasStoppedGuest && guest != .stopped
    case .answered?: false
    default: hasStoppedGuest
    }
  }

  /// The agent has stopped the guest, and could not let it go on.
  public var leavesGuestStopped: Bool {
    if case .answered(.failed(_, _, .stopped, _, words: _))? = ending { return true }
    return false
  }

  public mutating func handle(_ event: Event) {
    if case .ended = state { return }
    switch event {
    case .answer(let reading): see(reading)
    case .firstDeadline: if state == .offered { state = .ended(.silence) }
    case .lastDeadline: state = .ended(.deadline)
    case .gone: state = .ended(.gone)
    case .interrupted: state = .ended(.interrupted)
    }
  }

  private mutating func see(_ reading: Reading<Answer>) {
    switch reading {
    case .nothing: return
    case .nonsense: state = .ended(.nonsense)
    case .unknown(_, let id): if id == self.id { state = .ended(.nonsense) }
    case .message(let answer):
      guard answer.id == id else { return }
      note(answer.guest)
      switch answer {
      case .unsupported(_, let version): state = .ended(.unsupported(version: version))
      case .of(_, let kind) where !kind.isFinal:
        state = .accepted
      case .of(_, let kind):
        state = .ended(kind.fits(wanted.verb) ? .answered(kind) : .nonsense)
      }
    }
  }
}
