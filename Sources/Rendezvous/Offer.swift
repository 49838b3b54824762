import SaveDisk

/// Versions of formats/rendezvous.md that this program speaks.
public enum RendezvousVersion {
  public static let oldest: UInt32 = 1
  public static let current: UInt32 = 2
  /// From this one on QEMU is asked before a save, and failures have words.
  public static let words: UInt32 = 2

  public static func isKnown(_ version: UInt32) -> Bool {
    version >= oldest && version <= current
  }
}

/// What `take` is to do with the guest.
public enum GuestWish: UInt8, Hashable, Sendable, CaseIterable {
  /// It must not run.
  case paused
  /// Stop it; it goes on once its state is taken.
  case pause
  /// Stop it; it goes on only if this fails.
  case keep
}

/// What becomes of a save if QEMU says beforehand that it cannot be saved.
public enum BlockerPolicy: UInt8, Hashable, Sendable, CaseIterable {
  /// It is refused. Nobody asks in version 1.
  case heed
  /// QEMU is not asked.
  case ignore
}

/// The disk of an offer.
public struct OfferedDisk: Hashable, Sendable {
  public let device: DeviceName
  /// The `transferID` in its header.
  public let transferID: Bytes16

  public init(_ device: DeviceName, transferID: Bytes16) {
    self.device = device
    self.transferID = transferID
  }
}

/// What dom0 wants of the agent.
public enum Verb: Hashable, Sendable {
  /// Make ready for a save of at most so many bytes that somebody else will order from QEMU.
  case reset(maxBytes: UInt64, BlockerPolicy = .heed)
  /// Write what QEMU has written since then.
  case save(OfferedDisk, maxBytes: UInt64)
  /// Order the state from QEMU, and write it.
  case take(OfferedDisk, maxBytes: UInt64, GuestWish, BlockerPolicy = .heed)
  /// Verify the disk, and give its state to QEMU.
  case load(OfferedDisk, maxBytes: UInt64)
  /// Tell QEMU to let its guest run.
  case cont
  /// Leave the guest stopped that a `take` has stopped.
  case keep

  /// It may have to stop a guest that runs.
  public var mayStopGuest: Bool {
    switch self {
    case .take(_, _, .pause, _), .take(_, _, .keep, _): true
    default: false
    }
  }
}

/// Something that dom0 wants, once.
public struct Wanted: Hashable, Sendable {
  public let id: Bytes16
  /// One that is known here.
  public let version: UInt32
  public let verb: Verb
  /// What the agent has for it, from the moment when it sees it; 1 to `maxMilliseconds`.
  public let milliseconds: UInt64

  public static let maxMilliseconds: UInt64 = 3_600_000

  /// The agent asks QEMU first whether it can be saved.
  public var isHeedingBlockers: Bool {
    switch verb {
    case .reset(_, .heed), .take(_, _, _, .heed): version >= RendezvousVersion.words
    default: false
    }
  }

  public init(
    id: Bytes16, version: UInt32 = RendezvousVersion.current, _ verb: Verb, milliseconds: UInt64
  ) {
    precondition(milliseconds >= 1 && milliseconds <= Wanted.maxMilliseconds)
    precondition(RendezvousVersion.isKnown(version))
    self.id = id
    self.version = version
    self.verb = verb
    self.milliseconds = milliseconds
  }
}

/// What is in dom0's cell.
public enum Offer: Hashable, Sendable {
  case idle
  case wanted(Wanted)
}

/// What a reader makes of the bytes in a cell.
public enum Reading<Message: Hashable & Sendable>: Hashable, Sendable {
  /// Nothing is there.
  case nothing
  case message(Message)
  /// Of a version, verb or form that is not known here, but of somebody who means this id.
  case unknown(version: UInt32, id: Bytes16)
  case nonsense
}

extension Offer {
  /// The bytes for the cell.
  public func encoded() -> [UInt8] {
    var text = PlainText()
    switch self {
    case .idle:
      text.append(UInt64(RendezvousVersion.current))
      text.append(" idle")
    case .wanted(let wanted):
      text.append(UInt64(wanted.version))
      text.append(" ")
      text.append(hex: wanted.id)
      switch wanted.verb {
      case .cont: text.append(" cont")
      case .keep: text.append(" keep")
      case .reset(let bytes, let blockers):
        text.append(" reset")
        text.append(blockers, wanted.version)
        text.append(" ")
        text.append(bytes)
      case .save(let disk, let bytes):
        text.append(" save")
        text.append(disk, bytes)
      case .load(let disk, let bytes):
        text.append(" load")
        text.append(disk, bytes)
      case .take(let disk, let bytes, let guest, let blockers):
        text.append(" take")
        text.append(blockers, wanted.version)
        text.append(disk, bytes)
        switch guest {
        case .paused: text.append(" paused")
        case .pause: text.append(" pause")
        case .keep: text.append(" keep")
        }
      }
      text.append(" ")
      text.append(wanted.milliseconds)
    }
    return text.bytes
  }

  /// - Parameter bytes: everything in the cell.
  public static func read(_ bytes: [UInt8]) -> Reading<Offer> {
    if bytes.isEmpty { return .nothing }
    guard let fields = MessageFields(bytes), let version = fields.version, !fields.isTooMany
    else { return .nonsense }
    // In every version, so that a newer dom0 can withdraw from any agent.
    if fields.count == 2 && fields.is(1, "idle") { return .message(.idle) }
    guard let id = fields.id else { return .nonsense }
    guard RendezvousVersion.isKnown(version), let verb = verb(fields, version),
      let milliseconds = fields.milliseconds(fields.count - 1)
    else { return .unknown(version: version, id: id) }
    return .message(
      .wanted(Wanted(id: id, version: version, verb, milliseconds: milliseconds)))
  }

  /// The last field is the time, with every verb.
  private static func verb(_ fields: MessageFields, _ version: UInt32) -> Verb? {
    if fields.count == 4 && fields.is(2, "cont") { return .cont }
    if fields.count == 4 && fields.is(2, "keep") { return .keep }
    let ignores = version >= RendezvousVersion.words
    if fields.count == 5, let bytes = fields.bytes(3) {
      if fields.is(2, "reset") { return .reset(maxBytes: bytes) }
      if ignores && fields.is(2, "reset,ignore-blockers") {
        return .reset(maxBytes: bytes, .ignore)
      }
    }
    guard fields.count >= 7, let device = fields.device(3), let transferID = fields.id(4),
      let bytes = fields.bytes(5)
    else { return nil }
    let disk = OfferedDisk(device, transferID: transferID)
    if fields.count == 7 && fields.is(2, "save") { return .save(disk, maxBytes: bytes) }
    if fields.count == 7 && fields.is(2, "load") { return .load(disk, maxBytes: bytes) }
    guard fields.count == 8, let wish = wish(fields, 6) else { return nil }
    if fields.is(2, "take") { return .take(disk, maxBytes: bytes, wish) }
    if ignores && fields.is(2, "take,ignore-blockers") {
      return .take(disk, maxBytes: bytes, wish, .ignore)
    }
    return nil
  }

  private static func wish(_ fields: MessageFields, _ index: Int) -> GuestWish? {
    if fields.is(index, "paused") { return .paused }
    if fields.is(index, "pause") { return .pause }
    if fields.is(index, "keep") { return .keep }
    return nil
  }
}

extension PlainText {
  /// Behind the verb; an agent of version 1 does not ask.
  fileprivate mutating func append(_ blockers: BlockerPolicy, _ version: UInt32) {
    if blockers == .ignore && version >= RendezvousVersion.words { append(",ignore-blockers") }
  }

  fileprivate mutating func append(_ disk: OfferedDisk, _ count: UInt64) {
    append(" ")
    for byte in disk.device.bytes { append(byte: byte) }
    append(" ")
    append(hex: disk.transferID)
    append(" ")
    append(count)
  }
}
