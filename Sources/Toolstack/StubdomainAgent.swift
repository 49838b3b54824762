import Rendezvous
import SaveDisk
import SystemIO
import Transfer
import Xenstore

/// An agent in a stubdomain, over xenstore. The disk is attached to it already.
struct StubdomainAgent: AgentPeer, ~Copyable {
  private var offerer: Offerer<StubdomainCells>
  private let lock: DomainLock
  private let device: DeviceName

  /// Until the first answer (formats/rendezvous.md, section 4).
  private static let silenceMilliseconds: UInt64 = 5_000
  /// The same of a stubdomain that may still boot: libxl's own limit.
  private static let bootMilliseconds: UInt64 = 30_000

  static func find(
    domid: UInt32, _ device: DeviceName, _ xenstore: SystemPath
  ) throws(ToolError) -> StubdomainAgent {
    let lock = try DomainLock(domid: domid)
    do throws(CellError) {
      let connection = try connect(to: xenstore)
      let cells = try StubdomainCells.make(domid: domid, over: connection)
      return StubdomainAgent(offerer: Offerer(cells), lock: lock, device: device)
    } catch {
      guard case .xenstore(.notFound) = error else { throw ToolError(error, xenstore) }
      throw ToolError(.notFound, nil) { text in
        text.append("there is no domain ")
        text.append(UInt64(domid))
      }
    }
  }

  private static func connect(to path: SystemPath) throws(CellError) -> XenstoreConnection {
    do throws(XenstoreError) {
      return try XenstoreConnection.connect(
        to: path, deadline: Deadline(timeoutMilliseconds: XenstoreRequests.timeoutMilliseconds))
    } catch {
      throw .xenstore(error)
    }
  }

  borrowing func name(of disk: borrowing TransferDisk) -> DeviceName { device }

  mutating func offer(_ wanted: Wanted, signals: Int32?) -> OfferMachine {
    let isLoad = if case .load = wanted.verb { true } else { false }
    return offerer.offer(
      wanted,
      silenceMilliseconds: isLoad
        ? StubdomainAgent.bootMilliseconds : StubdomainAgent.silenceMilliseconds,
      signals: signals)
  }

  mutating func idle() { offerer.idle() }

  mutating func giveUp(_ machine: OfferMachine, _ facts: EndingFacts) -> ToolError {
    guard let ending = machine.ending else { preconditionFailure() }
    var machine = machine
    offerer.hearLast(&machine)
    var error = ToolError(ending, facts, detail: nil)
    if ending == .gone, let failure = offerer.failure, failure != .gone {
      error = ToolError(failure, facts.place)
    }
    if machine.leavesGuestStopped { error = ToolError(withGuestStopped: error) }
    return giveUp(after: error, guestIsStopped: machine.owesCont)
  }

  mutating func giveUp(after error: ToolError, guestIsStopped: Bool) -> ToolError {
    let staysStopped = guestIsStopped && !say(.cont)
    offerer.end()
    return staysStopped ? ToolError(withGuestStopped: error) : error
  }

  mutating func end() -> [PlainText] {
    offerer.end()
    return []
  }
}

extension ToolError {
  init(_ error: CellError, _ path: SystemPath) {
    if case .system(let error) = error {
      self.init(error, path)
    } else {
      self.init(.stubdomainFailed, path) { $0.append(error) }
    }
  }
}
