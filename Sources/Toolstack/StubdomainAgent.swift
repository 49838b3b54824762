import Rendezvous
import SaveDisk
import SystemIO
import Transfer
import Xen
import Xenstore

/// An agent in a stubdomain, over xenstore; the disk is attached to the stubdomain for the transfer.
struct StubdomainAgent: AgentPeer, ~Copyable {
  private var offerer: Offerer<StubdomainCells>
  private let lock: DomainLock
  private let place: StubdomainPlace
  private let stubdomain: Stubdomain
  private var attachment: DiskAttachment?
  /// The loop device that is attached, to see that the kernel takes it away.
  private var loop: SystemPath?
  /// For its kernel to connect to a disk. Takes a fraction of a second; eight at once, emulated, ten.
  var attachMilliseconds: UInt64 = 20_000
  /// For its kernel to let go of one.
  var detachMilliseconds: UInt64 = 10_000
  /// Until when a stubdomain may boot.
  private var bootDeadline: Deadline?
  /// That has been paused for this.
  private var pausedGuest: UInt32?
  private var said: [PlainText] = []

  /// Until the first answer (formats/rendezvous.md, section 4).
  private static let silenceMilliseconds: UInt64 = 5_000
  /// The same of a stubdomain that may still boot, its connecting to the disk included: less than
  /// libxl's own limit of 30 s, so that there is a reason before that.
  private static let bootMilliseconds: UInt64 = 28_000
  /// Of these at least for the agent, once the kernel has connected.
  private static let startMilliseconds: UInt64 = 10_000
  /// For dom0's to take away a loop device that nobody uses any more.
  private static let loopMilliseconds: UInt64 = 1_000

  /// - Parameter mayBePaused: libxl has not started it yet.
  static func find(
    _ place: StubdomainPlace, mayBePaused: Bool = false
  ) throws(ToolError) -> StubdomainAgent {
    var xenstore = try XenstoreConnection.dom0(place.xenstore)
    let stubdomain = try onXen(place.name) { () throws(XenError) in
      try XenDomains.stubdomain(place.reference, &xenstore)
    }
    let domid = stubdomain.domid
    let lock = try DomainLock(domid: domid)
    let said = try Leftovers.clear(domid, lock, place.xenstore)
    try StubdomainState.requireRunning(
      StubdomainState.look(domid), domid, place.name, mayBePaused: mayBePaused)
    do throws(CellError) {
      let cells = try StubdomainCells.make(domid: stubdomain.domid, over: xenstore)
      return StubdomainAgent(Offerer(cells), lock, place, stubdomain, said)
    } catch {
      guard case .xenstore(.notFound) = error else { throw ToolError(error, place.xenstore) }
      throw ToolError(.noDomain, place.name)
    }
  }

  private init(
    _ offerer: consuming Offerer<StubdomainCells>, _ lock: consuming DomainLock,
    _ place: StubdomainPlace, _ stubdomain: Stubdomain, _ said: [PlainText]
  ) {
    self.offerer = offerer
    self.lock = lock
    self.place = place
    self.stubdomain = stubdomain
    self.said = said
  }

  borrowing func name(of disk: borrowing TransferDisk) -> DeviceName {
    if let attached = place.attached { return attached }
    switch attachment {
    case .some(let attachment):
      guard let name = DeviceName(attachment.device.name) else { preconditionFailure() }
      return name
    case .none: preconditionFailure("not attached")
    }
  }

  var hasWorkAtEnd: Bool { true }

  // MARK: The guest

  mutating func origin() throws(ToolError) -> Origin? {
    let target = stubdomain.target
    var xenstore = try XenstoreConnection.dom0(place.xenstore)
    return try onXen(place.name) { () throws(XenError) in
      Origin(
        uuid: try XenDomains.uuid(of: target, &xenstore),
        arguments: try XenDomains.deviceArguments(ofGuest: target, &xenstore))
    }
  }

  /// Under Xen a guest stands only if its processors do: QEMU's own `stop` is about devices. When
  /// they do, QEMU may be stopped and let go on without anybody noticing.
  mutating func prepareGuest(_ wish: GuestWish) throws(ToolError) -> GuestWish {
    // Nothing to ask: xenstore by itself, as in tests.
    if place.attached != nil && !Hypervisor.isHere { return wish }
    let target = stubdomain.target
    var hypervisor = try onXen(Hypervisor.device) { () throws(XenError) in try Hypervisor.open() }
    let guest = SystemPath(word: "guest ", number: UInt64(target))
    if try onXen(guest, { () throws(XenError) in try hypervisor.stands(domid: target) }) {
      return wish == .keep ? .keep : .pause
    }
    if wish == .paused { throw ToolError.guestRuns(place.name) }
    try lock.note(paused: target)
    do throws(XenError) {
      try hypervisor.pause(domid: target)
    } catch {
      try? lock.note(paused: nil)
      throw ToolError(error, guest)
    }
    pausedGuest = target
    return wish
  }

  mutating func resumeGuest() {
    if unpause() { return }
    var text = PlainText()
    text.append("the guest could not be let go on; `xl unpause` does")
    said.append(text)
  }

  /// Whether no guest stands any more because of us. One that has ended does not.
  private mutating func unpause() -> Bool {
    guard let guest = pausedGuest else { return true }
    pausedGuest = nil
    do throws(XenError) {
      var hypervisor = try Hypervisor.open()
      try hypervisor.unpause(domid: guest)
    } catch {
      if error != .noDomain { return false }
    }
    try? lock.note(paused: nil)
    return true
  }

  mutating func keepGuest() {
    pausedGuest = nil
    try? lock.note(paused: nil)
  }

  // MARK: The disk

  mutating func attach(
    _ disk: borrowing TransferDisk, isReadOnly: Bool, signals: Int32?
  ) throws(ToolError) {
    if place.attached != nil || isAttached { return }
    let request = DiskAttachment.Request(
      domid: stubdomain.domid, majorMinor: try disk.majorMinor(), isReadOnly: isReadOnly,
      label: [UInt8](disk.path.bytes), owner: .command, claim: disk.claimID,
      ordinal: disk.ordinal)
    let deadline = Deadline(
      timeoutMilliseconds: isReadOnly ? StubdomainAgent.bootMilliseconds : attachMilliseconds)
    if isReadOnly { bootDeadline = deadline }
    do throws(XenError) {
      attachment = try DiskAttachment.attach(
        request, place.xenstore, until: deadline, signals: signals)
    } catch {
      throw StubdomainState.explain(ToolError(error, place.name), stubdomain.domid)
    }
    loop = disk.isLoopDevice ? disk.path : nil
  }

  /// By this command.
  private var isAttached: Bool {
    switch attachment {
    case .some: true
    case .none: false
    }
  }

  private mutating func detach() {
    guard var attached = attachment.take() else { return }
    let ending = attached.detach(
      until: Deadline(timeoutMilliseconds: detachMilliseconds))
    if ending == .forced {
      var text = PlainText()
      text.append("the stubdomain did not let go of the disk; it was taken away")
      said.append(text)
    }
  }

  /// A disk of our own: its last user is dom0's blkback.
  private mutating func seeThatLoopIsGone() {
    guard let loop else { return }
    self.loop = nil
    let deadline = Deadline(timeoutMilliseconds: StubdomainAgent.loopMilliseconds)
    if (try? LoopDevice.isGone(loop, by: deadline)) == true { return }
    var text = PlainText()
    text.append("dom0's kernel still holds ")
    text.append(escaping: loop.bytes)
    said.append(text)
  }

  // MARK: The conversation

  mutating func offer(_ wanted: Wanted, signals: Int32?) -> OfferMachine {
    let isLoad = if case .load = wanted.verb { true } else { false }
    return offerer.offer(
      wanted,
      silenceMilliseconds: isLoad
        ? bootMillisecondsLeft : StubdomainAgent.silenceMilliseconds,
      signals: signals)
  }

  private var bootMillisecondsLeft: UInt64 {
    guard let bootDeadline else { return StubdomainAgent.bootMilliseconds }
    return max(UInt64(bootDeadline.remainingMilliseconds), StubdomainAgent.startMilliseconds)
  }

  mutating func idle() {
    offerer.idle()
    detach()
  }

  /// Nothing is wanted for now; the disk stays.
  mutating func withdraw() { offerer.idle() }

  mutating func letGo() {
    offerer.idle()
    attachment?.beginDetach()
  }

  mutating func giveUp(_ machine: OfferMachine, _ facts: EndingFacts) -> ToolError {
    guard let ending = machine.ending else { preconditionFailure() }
    var machine = machine
    offerer.hearLast(&machine)
    var error = ToolError(ending, facts, detail: nil)
    if ending == .gone, let failure = offerer.failure, failure != .gone {
      error = ToolError(failure, facts.place)
    }
    error = StubdomainState.explain(error, stubdomain.domid)
    if machine.leavesGuestStopped { error = ToolError(withGuestStopped: error) }
    return giveUp(after: error, guestIsStopped: machine.owesCont)
  }

  mutating func giveUp(after error: ToolError, guestIsStopped: Bool) -> ToolError {
    let goesOn = !guestIsStopped || say(.cont)
    let isUnpaused = unpause()
    offerer.end()
    detach()
    return !goesOn || !isUnpaused ? ToolError(withGuestStopped: error) : error
  }

  mutating func end() -> [PlainText] {
    resumeGuest()
    offerer.end()
    detach()
    seeThatLoopIsGone()
    defer { said = [] }
    return said
  }
}

extension XenstoreConnection {
  static func dom0(_ socket: SystemPath) throws(ToolError) -> XenstoreConnection {
    do throws(XenstoreError) {
      return try XenstoreConnection.open(
        socket, deadline: Deadline(timeoutMilliseconds: XenstoreRequests.timeoutMilliseconds))
    } catch {
      throw ToolError(.stubdomainFailed, socket) { text in
        text.append(error)
        if case .cannotConnect = error { text.append("; is this dom0, and does xenstored run?") }
      }
    }
  }
}

/// Runs `body`; an error of a domain's becomes one of the command, about `path`.
func onXen<R: ~Copyable>(
  _ path: SystemPath, _ body: () throws(XenError) -> R
) throws(ToolError) -> R {
  do throws(XenError) { return try body() } catch { throw ToolError(error, path) }
}

extension ToolError {
  init(_ error: XenError, _ path: SystemPath) {
    self.init(ExitStatus(error), path) { $0.append(error) }
  }

  static func guestRuns(_ place: SystemPath) -> ToolError {
    ToolError(.qemuRefused, place) {
      $0.append("the guest is running; --pause stops it for the dump")
    }
  }

  init(_ error: CellError, _ path: SystemPath) {
    if case .system(let error) = error {
      self.init(error, path)
    } else {
      self.init(.stubdomainFailed, path) { $0.append(error) }
    }
  }
}

extension ExitStatus {
  init(_ error: XenError) {
    switch error {
    case .system(let error): self = ExitStatus(error)
    case .noDomain, .noStubdomain, .notAttached: self = .notFound
    case .ambiguous: self = .usage
    case .noFreeDevice: self = .busy
    case .notConnected: self = .deadline
    case .interrupted: self = .internalError
    case .xenstore, .domainGone, .hypervisorUnknown: self = .stubdomainFailed
    }
  }
}
