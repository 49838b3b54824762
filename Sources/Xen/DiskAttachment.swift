import SaveDisk
import SystemIO
import Xenstore

/// A block device of dom0's that a running domain has as a disk of its own: by nodes in xenstore
/// and dom0's blkback, with no hotplug script.
public struct DiskAttachment: ~Copyable {
  private var xenstore: XenstoreConnection
  private let nodes: VbdNodes
  private var isThere = true
  private var isWatching = false

  public var device: VirtualDevice { nodes.device }

  private static let stateToken: UInt32 = 1
  private static let domainToken: UInt32 = 2

  /// What is to be attached, and where.
  public struct Request: Sendable {
    public let domid: UInt32
    public let majorMinor: (major: UInt32, minor: UInt32)
    public let isReadOnly: Bool
    /// Names the disk in tools.
    public let label: [UInt8]
    public let owner: DiskOwner
    /// Names the claim on the device.
    public let claim: UInt64?
    /// Another one than lately: which of the free names is taken.
    public let ordinal: UInt64

    public init(
      domid: UInt32, majorMinor: (major: UInt32, minor: UInt32), isReadOnly: Bool, label: [UInt8],
      owner: DiskOwner, claim: UInt64?, ordinal: UInt64
    ) {
      self.domid = domid
      self.majorMinor = majorMinor
      self.isReadOnly = isReadOnly
      self.label = label
      self.owner = owner
      self.claim = claim
      self.ordinal = ordinal
    }
  }

  /// Attaches, and waits until the domain's kernel has connected. Nothing is left after an error.
  ///
  /// - Parameters:
  ///   - socket: of dom0's xenstored.
  ///   - signals: ends the wait.
  public static func attach(
    _ request: Request, _ socket: SystemPath, until deadline: Deadline, signals: Int32?
  ) throws(XenError) -> DiskAttachment {
    var xenstore = try connect(socket)
    let nodes = try make(request, &xenstore)
    var attachment = DiskAttachment(xenstore: xenstore, nodes: nodes)
    do throws(XenError) {
      try attachment.awaitConnection(until: deadline, signals)
    } catch {
      // By force: what has not connected has nothing to close.
      try? attachment.remove()
      throw error
    }
    return attachment
  }

  /// One that another command has made.
  public static func existing(
    domid: UInt32, _ device: VirtualDevice, _ socket: SystemPath
  ) throws(XenError) -> DiskAttachment {
    var xenstore = try connect(socket)
    let nodes = VbdNodes(domid: domid, device: device)
    guard try XenDomains.value(&xenstore, nodes.owner) != nil else { throw .notAttached }
    return DiskAttachment(xenstore: xenstore, nodes: nodes)
  }

  private static func connect(_ socket: SystemPath) throws(XenError) -> XenstoreConnection {
    do throws(XenstoreError) {
      return try XenstoreConnection.open(
        socket, deadline: Deadline(timeoutMilliseconds: requestMilliseconds))
    } catch {
      throw .xenstore(error)
    }
  }

  private init(xenstore: consuming XenstoreConnection, nodes: VbdNodes) {
    self.xenstore = xenstore
    self.nodes = nodes
  }

  private static func make(
    _ request: Request, _ xenstore: inout XenstoreConnection
  ) throws(XenError) -> VbdNodes {
    var made: VbdNodes?
    try onXenstore { () throws(XenstoreError) in
      try xenstore.change { xenstore, transaction throws(XenstoreError) in
        made = nil
        guard
          let device = try freeDevice(request, &xenstore, in: transaction)
        else { return [] }
        let nodes = VbdNodes(domid: request.domid, device: device)
        made = nodes
        return nodes.making(
          request.majorMinor, isReadOnly: request.isReadOnly, label: request.label,
          owner: request.owner, claim: request.claim)
      }
    }
    guard let made else { throw .noFreeDevice }
    return made
  }

  /// The same number twice would leave the first disk without an owner: blkback stays where it is.
  /// The same soon after is not noticed by a Linux guest that is busy: when it looks, a device is
  /// there as before, and the new one is never probed (xenbus_dev_changed; seen with 6.1).
  private static func freeDevice(
    _ request: Request, _ xenstore: inout XenstoreConnection, in transaction: UInt32
  ) throws(XenstoreError) -> VirtualDevice? {
    let domid = request.domid
    var taken: [[UInt8]] = []
    for place in [
      Node.domain(domid)("device")("vbd"), Node.backends(domid),
      Node("/libxl")(domid)("device")("vbd"),
    ] {
      taken += try VbdNodes.names(below: place, &xenstore, in: transaction)
    }
    let all = VirtualDevice.candidates
    let start = Int(request.ordinal % UInt64(all.count))
    return (all[start...] + all[..<start]).first {
      !taken.contains(Decimal.bytes($0.number))
    }
  }

  private mutating func awaitConnection(
    until deadline: Deadline, _ signals: Int32?
  ) throws(XenError) {
    try watch()
    var last: UInt32 = 0
    while true {
      if let state = try state() {
        last = state
        if state == XenbusState.connected { return }
      }
      switch try event(until: deadline, signals) {
      case .timedOut: throw .notConnected(state: last)
      case .interrupted: throw .interrupted
      case .state: break
      case .someDomainEnded:
        wind()
        guard try XenDomains.exists(nodes.domid, &xenstore) else { throw .domainGone }
      }
    }
  }

  /// The back end's own, which only dom0's kernel and we write; nil if it is gone.
  private mutating func state() throws(XenError) -> UInt32? {
    wind()
    return try XenDomains.number(&xenstore, nodes.backendState)
  }

  /// Once: they stay as long as the connection.
  private mutating func watch() throws(XenError) {
    if isWatching { return }
    isWatching = true
    try onXenstore { () throws(XenstoreError) in
      try xenstore.watch(nodes.backendState.path, token: Self.stateToken)
      try xenstore.watch(SystemPath(word: "@releaseDomain"), token: Self.domainToken)
    }
  }

  private enum Event {
    case timedOut, interrupted, state, someDomainEnded
  }

  /// Waits until one of the watches has fired.
  private mutating func event(
    until deadline: Deadline, _ signals: Int32?
  ) throws(XenError) -> Event {
    while true {
      let tokens = try onXenstore { () throws(XenstoreError) in try xenstore.takeEvents() }
      if tokens.contains(Self.domainToken) { return .someDomainEnded }
      if !tokens.isEmpty { return .state }
      let readiness: UnixSocket.Readiness
      do throws(SystemError) {
        readiness = try UnixSocket.wait(
          for: xenstore.number, toWrite: false, until: deadline, signals: signals)
      } catch {
        throw .system(error)
      }
      switch readiness {
      case .ready: break
      case .timedOut: return .timedOut
      case .interrupted: return .interrupted
      }
    }
  }

  /// How a disk was given back.
  public enum Ending: Sendable {
    /// The domain's kernel has let go of it.
    case closed
    /// It has not in time, and the disk was taken away. Writes that were under way may still reach
    /// it.
    case forced
  }

  /// Asks the domain to let go of the disk, waits at most until `deadline`, and removes all nodes.
  ///
  /// Whether it has let go says nothing of what it has written: the state "closed" is reached with
  /// the device still held open (measured).
  ///
  /// - Throws: if the nodes could not be removed: the disk is still there.
  public mutating func take(until deadline: Deadline) throws(XenError) -> Ending {
    guard isThere else { return .closed }
    let isClosed = (try? close(until: deadline)) ?? false
    try remove()
    return isClosed ? .closed : .forced
  }

  /// The same of a disk of one's own, at the end: what cannot be removed now is left to `gc`.
  public mutating func detach(until deadline: Deadline) -> Ending {
    (try? take(until: deadline)) ?? .forced
  }

  private static let requestMilliseconds: UInt64 = 10_000

  /// The time for the next requests begins: a wait between them is longer than they may take.
  private mutating func wind() {
    xenstore.deadline = Deadline(timeoutMilliseconds: Self.requestMilliseconds)
  }

  /// The first half of `detach`: asks, and waits for nothing.
  public mutating func beginDetach() { _ = try? askToClose() }

  /// Nil if there is nobody who could still hold it, or it is closed already.
  private mutating func askToClose() throws(XenError) -> UInt32? {
    let nodes = self.nodes
    wind()
    guard try XenDomains.exists(nodes.domid, &xenstore) else { return nil }
    guard let state = try state(), state != XenbusState.closed else { return nil }
    if state < XenbusState.closing {
      try onXenstore { () throws(XenstoreError) in
        try xenstore.change { _, _ throws(XenstoreError) in nodes.closing }
      }
    }
    return state
  }

  private mutating func close(until deadline: Deadline) throws(XenError) -> Bool {
    guard try askToClose() != nil else { return true }
    try watch()
    while true {
      guard let state = try state(), state != XenbusState.closed else { return true }
      switch try event(until: deadline, nil) {
      case .timedOut, .interrupted: return false
      case .state: break
      case .someDomainEnded:
        wind()
        guard try XenDomains.exists(nodes.domid, &xenstore) else { return true }
      }
    }
  }

  /// Whatever the domain does: dom0's blkback lets go of the device with its nodes.
  private mutating func remove() throws(XenError) {
    isThere = false
    wind()
    let nodes = self.nodes
    try onXenstore { () throws(XenstoreError) in
      try xenstore.change { xenstore, transaction throws(XenstoreError) in
        try nodes.removing(&xenstore, in: transaction)
      }
    }
  }
}
