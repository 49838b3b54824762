import SaveDisk

/// The agent's side of the rendezvous, without any input or output (formats/rendezvous.md,
/// section 3): events in, actions out.
public struct AgentMachine: Hashable, Sendable {
  public enum State: Hashable, Sendable {
    case idle
    case working(id: Bytes16)
    case answered(id: Bytes16)
    case ended
  }

  public enum Event: Hashable, Sendable {
    /// What is in dom0's cell now, whether or not it has changed.
    case offer(Reading<Offer>)
    /// So much of the state has been written or read; the guest is stopped, or about to be.
    case progressed(bytes: UInt64, GuestState)
    /// The work that was begun has come to its end; its disk is closed. Final.
    case finished(AnswerKind)
    case carrierGone
  }

  public enum Action: Hashable, Sendable {
    /// Give up the work that was begun, and close its disk.
    case stop
    case answer(Answer)
    case begin(Wanted)
    /// Let a guest go on that has been stopped.
    case release
  }

  public private(set) var state = State.idle
  /// Of the offer that was understood last: its answers are said in it.
  public private(set) var version = RendezvousVersion.current
  /// The highest that this agent knows.
  private let highest: UInt32

  /// - Parameter highest: another one than this program's, as an older agent's.
  public init(highest: UInt32 = RendezvousVersion.current) { self.highest = highest }

  /// - Returns: what is to be done, in this order.
  public mutating func handle(_ event: Event) -> [Action] {
    switch event {
    case .offer(let reading): return see(reading)
    case .progressed(let bytes, let guest):
      guard case .working(let id) = state else { return [] }
      return [.answer(.of(id: id, .progress(bytes: bytes, guest)))]
    case .finished(let kind):
      precondition(kind.isFinal)
      guard case .working(let id) = state else { return [] }
      state = .answered(id: id)
      return [.answer(.of(id: id, kind))]
    case .carrierGone:
      defer { state = .ended }
      return isWorking ? [.stop, .release] : [.release]
    }
  }

  private var isWorking: Bool {
    if case .working = state { return true }
    return false
  }

  private mutating func see(_ reading: Reading<Offer>) -> [Action] {
    if state == .ended { return [] }
    let stop: [Action] = isWorking ? [.stop] : []
    switch reading {
    case .nonsense: return []
    case .nothing, .message(.idle):
      defer { state = .idle }
      return stop
    case .message(.wanted(let wanted)):
      if isKnown(wanted.id) { return [] }
      guard wanted.version <= highest else { return stop + refuse(wanted.id) }
      state = .working(id: wanted.id)
      version = wanted.version
      return stop + [.answer(.of(id: wanted.id, .accepted)), .begin(wanted)]
    case .unknown(_, let id):
      if isKnown(id) { return [] }
      return stop + refuse(id)
    }
  }

  private mutating func refuse(_ id: Bytes16) -> [Action] {
    state = .answered(id: id)
    return [.answer(.unsupported(id: id, version: highest))]
  }

  /// It is being worked on, or has been answered.
  private func isKnown(_ id: Bytes16) -> Bool {
    switch state {
    case .working(let known), .answered(let known): known == id
    case .idle, .ended: false
    }
  }
}
