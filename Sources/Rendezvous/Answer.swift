import SaveDisk

/// What the agent knows of the guest.
public enum GuestState: UInt8, Hashable, Sendable, CaseIterable {
  case running
  /// It stood still before.
  case paused
  /// The agent has stopped it.
  case stopped
  case unknown
}

/// What the agent says of one offer.
public enum AnswerKind: Hashable, Sendable {
  case accepted
  case progress(bytes: UInt64, GuestState)
  case ready
  case committed(diskBytes: UInt64, GuestState)
  case loaded(stateBytes: UInt64)
  /// An exit code; the capacity that a disk must have if one that is larger would do, else 0.
  case failed(
    code: UInt8, neededBytes: UInt64, GuestState, FailureReason, words: AgentWords? = nil)

  /// The agent says nothing more about this id.
  public var isFinal: Bool {
    switch self {
    case .accepted, .progress: false
    default: true
    }
  }

  /// A final answer that this verb can have.
  public func fits(_ verb: Verb) -> Bool {
    switch (self, verb) {
    case (.failed, _), (.ready, .reset), (.ready, .cont), (.ready, .keep),
      (.committed, .save), (.committed, .take), (.loaded, .load):
      true
    default: false
    }
  }
}

/// What is in the agent's cell.
public enum Answer: Hashable, Sendable {
  case of(id: Bytes16, AnswerKind)
  /// The offer is not known here; `version` is the highest that is.
  case unsupported(id: Bytes16, version: UInt32)

  public var id: Bytes16 {
    switch self {
    case .of(let id, _), .unsupported(let id, _): id
    }
  }

  /// What it tells of the guest, if it does.
  public var guest: GuestState? {
    switch self {
    case .of(_, .progress(_, let guest)), .of(_, .committed(_, let guest)),
      .of(_, .failed(_, _, let guest, _, words: _)):
      guest
    default: nil
    }
  }
}

extension Answer {
  /// The bytes for the cell.
  ///
  /// - Parameter offered: the version of the offer, which is the answer's.
  public func encoded(version offered: UInt32 = RendezvousVersion.current) -> [UInt8] {
    var text = PlainText()
    switch self {
    case .unsupported(let id, let version):
      text.append(UInt64(version))
      text.append(" ")
      text.append(hex: id)
      text.append(" unsupported")
    case .of(let id, let kind):
      text.append(UInt64(offered))
      text.append(" ")
      text.append(hex: id)
      text.append(kind, offered)
    }
    return text.bytes
  }

  /// - Parameters:
  ///   - bytes: everything in the cell.
  ///   - offered: the version of the offer that is to be answered; nil takes every one that is known.
  public static func read(_ bytes: [UInt8], version offered: UInt32? = nil) -> Reading<Answer> {
    if bytes.isEmpty { return .nothing }
    guard let fields = MessageFields(bytes), let version = fields.version, let id = fields.id
    else { return .nonsense }
    if fields.count == 3 && fields.is(2, "unsupported") {
      return .message(.unsupported(id: id, version: version))
    }
    guard RendezvousVersion.isKnown(version), offered == nil || offered == version else {
      return .unknown(version: version, id: id)
    }
    guard let kind = kind(fields, version) else { return .nonsense }
    return .message(.of(id: id, kind))
  }

  private static func kind(_ fields: MessageFields, _ version: UInt32) -> AnswerKind? {
    switch fields.count {
    case 3 where fields.is(2, "accepted"): return .accepted
    case 3 where fields.is(2, "ready"): return .ready
    case 5 where fields.is(2, "progress"):
      guard let bytes = fields.bytes(3), let guest = guest(fields, 4) else { return nil }
      return .progress(bytes: bytes, guest)
    case 4 where fields.is(2, "loaded"): return fields.bytes(3).map { .loaded(stateBytes: $0) }
    case 5 where fields.is(2, "committed"):
      guard let bytes = fields.bytes(3), let guest = guest(fields, 4) else { return nil }
      return .committed(diskBytes: bytes, guest)
    case 7... where fields.is(2, "failed"): return failed(fields, version)
    default: return nil
    }
  }

  private static func failed(_ fields: MessageFields, _ version: UInt32) -> AnswerKind? {
    guard let code = fields.code(3), let bytes = fields.bytes(4), let guest = guest(fields, 5),
      let reason = FailureReason(fields, 6, version: version)
    else { return nil }
    if fields.count == 7 { return .failed(code: code, neededBytes: bytes, guest, reason) }
    guard version >= RendezvousVersion.words, let words = fields.words(7) else { return nil }
    return .failed(code: code, neededBytes: bytes, guest, reason, words: words)
  }

  private static func guest(_ fields: MessageFields, _ index: Int) -> GuestState? {
    if fields.is(index, "running") { return .running }
    if fields.is(index, "paused") { return .paused }
    if fields.is(index, "stopped") { return .stopped }
    if fields.is(index, "unknown") { return .unknown }
    return nil
  }
}

extension PlainText {
  fileprivate mutating func append(_ kind: AnswerKind, _ version: UInt32) {
    switch kind {
    case .accepted: append(" accepted")
    case .ready: append(" ready")
    case .progress(let bytes, let guest):
      append(" progress ")
      append(bytes)
      append(guest)
    case .loaded(let bytes):
      append(" loaded ")
      append(bytes)
    case .committed(let bytes, let guest):
      append(" committed ")
      append(bytes)
      append(guest)
    case .failed(let code, let bytes, let guest, let reason, let words):
      append(" failed ")
      append(UInt64(code))
      append(" ")
      append(bytes)
      append(guest)
      append(" ")
      append(reason.known(in: version).word)
      if let words, version >= RendezvousVersion.words {
        append(" ")
        append(words)
      }
    }
  }

  private mutating func append(_ guest: GuestState) {
    switch guest {
    case .running: append(" running")
    case .paused: append(" paused")
    case .stopped: append(" stopped")
    case .unknown: append(" unknown")
    }
  }
}
