import Rendezvous
import SaveDisk
import SystemIO
import Transfer

/// What an offer was about, for telling why it came to nothing.
struct EndingFacts {
  /// The agent's place, and the disk's.
  let place: SystemPath
  let disk: SystemPath
  let maxStateBytes: UInt64
  let ignoreBlockersOption: StaticString

  init(_ transfer: TransferSettings, _ disk: borrowing TransferDisk) {
    place = transfer.place.name
    self.disk = disk.path
    maxStateBytes = transfer.maxStateBytes
    ignoreBlockersOption = transfer.ignoreBlockersOption
  }
}

extension ToolError {
  /// Why an offer has not brought what was wanted.
  ///
  /// - Parameter detail: what an agent of ours said in its own words; printable, without its place.
  ///   Nil if it is not ours: its words are marked as a stubdomain's.
  init(_ ending: OfferMachine.Ending, _ facts: EndingFacts, detail: PlainText?) {
    switch ending {
    case .answered(.failed(let code, let needed, _, let reason, let words)):
      guard detail == nil, let words else {
        self.init(reason, code: code, neededBytes: needed, facts, detail)
        return
      }
      var known: PlainText?
      if reason == .qemu {
        known = PlainText()
        known?.append("QEMU failed")
      }
      self.init(
        ToolError(reason, code: code, neededBytes: needed, facts, known), stubdomainSays: words)
    case .answered: self.init(.internalError, facts.place) { $0.append("the wrong answer") }
    case .unsupported(let version):
      self.init(.unsupported, facts.place) { text in
        text.append("the agent does not know what it was offered: it speaks version ")
        text.append(UInt64(version))
        text.append(" of the rendezvous, this program ")
        text.append(UInt64(RendezvousVersion.oldest))
        text.append(" to ")
        text.append(UInt64(RendezvousVersion.current))
      }
    case .nonsense:
      self.init(.stubdomainFailed, facts.place) { text in
        text.append("what the agent answers is no message of the rendezvous, or not of ")
        text.append("the version in which it was asked")
      }
    case .silence:
      self.init(.deadline, facts.place) { text in
        text.append("nobody answers; is stubsave-agent running there?")
      }
    case .deadline:
      self.init(.deadline, facts.place) { text in
        text.append("the agent did not come to an end in time; --timeout sets how long")
      }
    case .gone:
      self.init(.stubdomainFailed, facts.place) { text in
        text.append("the agent, or the domain that it runs in, has ended")
      }
    case .interrupted:
      self.init(.internalError, facts.place) { $0.append("interrupted by a signal") }
    }
  }

  /// The same, and what the stubdomain says of it.
  init(_ error: ToolError, stubdomainSays words: AgentWords) {
    var said = PlainText()
    said.append("; the stubdomain says: ")
    said.append(words)
    self.init(error, and: said)
  }

  /// QEMU says that it cannot be saved.
  ///
  /// - Parameter reasons: its own; nil if they are told in another way.
  init(blockedFor reasons: PlainText?, _ place: SystemPath, _ option: StaticString) {
    self.init(.qemuRefused, place) { text in
      text.append("QEMU says that it cannot be saved")
      if let reasons {
        text.append(": ")
        text.append(reasons)
      }
      text.append("; ")
      text.append(option)
      text.append(" does not ask it, and may end it or give a state that none loads")
    }
  }

  private init(
    _ reason: FailureReason, code: UInt8, neededBytes: UInt64, _ facts: EndingFacts,
    _ detail: PlainText?
  ) {
    // A code that is none of ours says no more than that it failed.
    let status = ExitStatus(rawValue: code) ?? .stubdomainFailed
    switch reason {
    case .small:
      self.init(status, facts.disk) { text in
        text.append("too small for the state: it needs ")
        text.append(neededBytes)
        text.append(" bytes")
        text.append(allocateWith: neededBytes)
      }
    case .large:
      self.init(status, facts.place) { text in
        text.append("the state is larger than the limit: ")
        text.append(facts.maxStateBytes)
        text.append(" bytes, which --max-state raises, or the agent's own")
      }
    case .runs:
      self.init(status, facts.place) {
        $0.append("the guest is running; --pause stops it for the dump")
      }
    case .incoming:
      self.init(status, facts.place) {
        $0.append("QEMU waits for a state itself (-incoming); there is none to take")
      }
    case .settled:
      self.init(status, facts.place) { text in
        text.append(detail, or: "QEMU does not wait for a state")
        text.append("; start it with -incoming defer")
      }
    case .blocked: self.init(blockedFor: detail, facts.place, facts.ignoreBlockersOption)
    case .device, .foreign, .disk:
      self.init(status, facts.disk) { $0.append(detail, or: reason.words) }
    case .empty, .qemu, .system, .verb:
      self.init(status, facts.place) { $0.append(detail, or: reason.words) }
    }
  }
}

extension FailureReason {
  /// Where the agent has said no more.
  fileprivate var words: StaticString {
    switch self {
    case .device: "the agent could not open, read or write the disk"
    case .foreign: "the agent finds another disk than the one that it was offered"
    case .disk: "the agent finds no good save disk"
    case .empty: "QEMU has written no device state"
    case .qemu: "QEMU did not do what the agent told it"
    case .system: "the agent's own system failed"
    case .verb: "the agent there takes no such offer"
    case .small, .large, .runs, .incoming, .settled, .blocked: ""
    }
  }
}

extension PlainText {
  fileprivate mutating func append(_ detail: PlainText?, or words: StaticString) {
    if let detail, !detail.bytes.isEmpty {
      append(detail)
    } else {
      append(words)
    }
  }
}
