import Rendezvous
import SaveDisk
import SystemIO
import Transfer

/// The agent at the other end, wherever it runs: what differs between a process on this machine and
/// a stubdomain is the carrier and the disk, nothing else.
protocol AgentPeer: ~Copyable {
  /// How the agent knows a disk.
  borrowing func name(of disk: borrowing TransferDisk) -> DeviceName

  /// What dom0 knows of the guest; nil where there is no dom0.
  mutating func origin() throws(ToolError) -> Origin?

  /// Sees that the guest stands, or makes it stand, as far as that is not QEMU's.
  ///
  /// - Returns: what is to be wished of QEMU.
  mutating func prepareGuest(_ wish: GuestWish) throws(ToolError) -> GuestWish

  /// A guest that `prepareGuest` has paused goes on.
  mutating func resumeGuest()

  /// A guest that `prepareGuest` has paused stays so.
  mutating func keepGuest()

  /// Brings the disk to where the agent opens it.
  mutating func attach(
    _ disk: borrowing TransferDisk, isReadOnly: Bool, signals: Int32?) throws(ToolError)

  /// Makes an offer, and waits for its end.
  mutating func offer(_ wanted: Wanted, signals: Int32?) -> OfferMachine

  /// Nothing is wanted any more, and what has been said is over; the disk comes back.
  mutating func idle()

  /// The same, but nothing is waited for: `end` does.
  mutating func letGo()

  /// Whether, after `letGo`, `end` still has something to put away.
  var hasWorkAtEnd: Bool { get }

  /// The last, after an offer that has not brought what was wanted: a guest that has been stopped
  /// goes on, and everything is put away.
  ///
  /// - Returns: what to tell of it.
  mutating func giveUp(_ machine: OfferMachine, _ facts: EndingFacts) -> ToolError

  /// The same after all was well at the agent's end, and something has failed here.
  ///
  /// - Returns: the error, with a word if the guest stays stopped.
  mutating func giveUp(after error: ToolError, guestIsStopped: Bool) -> ToolError

  /// The last, after all went well.
  ///
  /// - Returns: what the agent has said beside its answers, a line each.
  mutating func end() -> [PlainText]
}

/// How long an agent gets to let a guest go on.
let contMilliseconds: UInt64 = 5_000

extension Wanted {
  /// An offer with an id of its own.
  static func new(_ verb: Verb, milliseconds: UInt64) throws(SystemError) -> Wanted {
    let words = try Randomness.words()
    return Wanted(
      id: Bytes16(first: words.0, last: words.1), verb, milliseconds: milliseconds)
  }
}

extension AgentPeer where Self: ~Copyable {
  /// Says `cont` or `keep`; whether the agent has said that it is so.
  mutating func say(_ verb: Verb) -> Bool {
    guard let wanted = try? Wanted.new(verb, milliseconds: contMilliseconds) else { return false }
    return offer(wanted, signals: nil).ending == .answered(.ready)
  }

  /// Makes an offer about a disk, and waits for its end.
  ///
  /// - Throws: after everything has been put away.
  mutating func offer(
    _ disk: borrowing TransferDisk, _ transfer: TransferSettings, signals: Int32?,
    _ verb: (OfferedDisk) -> Verb
  ) throws(ToolError) -> OfferMachine {
    do throws(ToolError) {
      try attach(disk, isReadOnly: disk.header.direction == .restore, signals: signals)
      let offered = OfferedDisk(name(of: disk), transferID: disk.header.transferID)
      let wanted = try attempt(disk.path) { () throws(SystemError) in
        try Wanted.new(verb(offered), milliseconds: transfer.timeoutMilliseconds)
      }
      return offer(wanted, signals: signals)
    } catch {
      throw giveUp(after: error, guestIsStopped: false)
    }
  }
}
