import SaveDisk
import SystemIO

/// dom0's side of the conversation: one offer after the other, each with its deadlines
/// (formats/rendezvous.md, sections 3 and 4).
public struct Offerer<Carrier: OfferingCells & ~Copyable>: ~Copyable {
  private var carrier: Carrier
  /// Why the carrier gave no more, if it did.
  public private(set) var failure: CellError?
  /// In which is offered: the highest, until an agent has said that it knows a lower one only.
  private var version = RendezvousVersion.current

  public init(_ carrier: consuming Carrier) { self.carrier = carrier }

  /// Makes an offer, and waits until it has ended.
  ///
  /// The offer stays in the cell: `idle` is said by whoever calls, after what section 3 wants
  /// done before. To an agent of an older version the same is offered once more in that version, with
  /// another id and within the same time.
  ///
  /// - Parameters:
  ///   - silenceMilliseconds: until the first answer; nil if the carrier tells of the agent's end.
  ///   - signals: the number of `EndingSignals`; a signal ends the wait.
  public mutating func offer(
    _ wanted: Wanted, silenceMilliseconds: UInt64?, signals: Int32?
  ) -> OfferMachine {
    let last = Deadline(timeoutMilliseconds: wanted.milliseconds + wanted.graceMilliseconds)
    let machine = offer(
      Wanted(
        id: wanted.id, version: min(wanted.version, version), wanted.verb,
        milliseconds: wanted.milliseconds),
      until: last, silenceMilliseconds, signals)
    guard let words = try? Randomness.words(),
      let again = machine.inVersionOfAgent(
        id: Bytes16(first: words.0, last: words.1),
        milliseconds: last.millisecondsLeft(but: wanted.graceMilliseconds))
    else { return machine }
    version = again.version
    return offer(again, until: last, silenceMilliseconds, signals)
  }

  private mutating func offer(
    _ wanted: Wanted, until last: Deadline, _ silenceMilliseconds: UInt64?, _ signals: Int32?
  ) -> OfferMachine {
    var machine = OfferMachine(wanted)
    let first = silenceMilliseconds.map { Deadline(timeoutMilliseconds: $0) }
    do throws(CellError) {
      try carrier.renew()
      try carrier.say(machine.offer.encoded())
      var pace = LookPace()
      while machine.ending == nil {
        let isFirst = machine.state == .offered && first.map { $0 < last } == true
        let deadline = isFirst ? first ?? last : last
        if let event = try next(wanted.version, until: deadline, isFirst, &pace, signals) {
          machine.handle(event)
        }
      }
    } catch {
      failure = error
      machine.handle(.gone)
    }
    return machine
  }

  /// Nothing is wanted any more. An error is passed over: who cannot be told cannot be told.
  public mutating func idle() {
    try? carrier.say(Offer.idle.encoded())
  }

  /// The last: the cells go, and with them whatever was wanted.
  public mutating func end() { carrier.end() }

  /// After an offer that has ended without an answer: what the agent has still managed to say.
  public mutating func hearLast(_ machine: inout OfferMachine) {
    guard let bytes = try? carrier.look() else { return }
    machine.hearLast(Answer.read(bytes, version: machine.wanted.version))
  }

  /// The next that happens; nil if it is nothing new.
  private mutating func next(
    _ version: UInt32, until deadline: Deadline, _ isFirst: Bool, _ pace: inout LookPace,
    _ signals: Int32?
  ) throws(CellError) -> OfferMachine.Event? {
    if deadline.hasPassed { return isFirst ? .firstDeadline : .lastDeadline }
    // Not listened to for a moment: whoever writes in a loop costs only so many looks.
    let pause = pace.pause
    // First what has come with something else, of which the descriptor no longer tells.
    if pause == nil, let bytes = try carrier.look() {
      pace.count()
      return .answer(Answer.read(bytes, version: version))
    }
    do throws(SystemError) {
      let readiness = try UnixSocket.wait(
        for: pause == nil ? carrier.number : -1, toWrite: false,
        until: pause.map { min($0, deadline) } ?? deadline, signals: signals)
      return readiness == .interrupted ? .interrupted : nil
    } catch {
      throw .system(error)
    }
  }
}

extension Wanted {
  /// For an answer that is under way when the agent's time is over; and for a guest that it has
  /// stopped, to be told to go on.
  var graceMilliseconds: UInt64 { verb.mayStopGuest ? 6000 : 1000 }
}

extension Deadline {
  /// For an agent, so that there is still so much for its answer; at least 1.
  fileprivate func millisecondsLeft(but grace: UInt64) -> UInt64 {
    let left = UInt64(max(remainingMilliseconds, 0))
    return left > grace ? min(left - grace, Wanted.maxMilliseconds) : 1
  }
}

/// At most 20 looks at once, and 20 a second.
private struct LookPace {
  private static let burst: UInt64 = 20
  private static let intervalNanoseconds: UInt64 = 50_000_000
  /// Where all the looks so far would end, one an interval.
  private var end = MonotonicClock.nanoseconds

  mutating func count() {
    end = max(end, MonotonicClock.nanoseconds) + LookPace.intervalNanoseconds
  }

  /// Until when there is to be no look; nil if now is fine.
  var pause: Deadline? {
    let now = MonotonicClock.nanoseconds
    let soonest = now + LookPace.burst * LookPace.intervalNanoseconds
    return end > soonest
      ? Deadline(timeoutMilliseconds: (end - soonest) / 1_000_000 + 1) : nil
  }
}
