import SaveDisk
import SystemIO

/// What passes between QMP clients that are trusted, libxl's, and a QEMU in a stubdomain that is not,
/// over one connection to that QEMU, which outlives them.
///
/// Every line from QEMU is read strictly and spelled anew, so that a client can see nothing else
/// in it than was seen here: a reply passes only as the answer to a command that has none, once, to
/// the client that gave it, with nothing but its result and that command's id; an event with its
/// name, data and time. All else is dropped. QEMU sees ids of the relay's own, which nobody can guess
/// and none of which comes twice: libxl begins with the same one in each connection.
/// What the clients' commands are about is told, so that whoever relays can hold them, or their
/// replies.
public struct QMPRelay {
  /// What QEMU says to a question of the relay's own.
  public enum Blockers: Sendable {
    case answered(SaveBlockers)
    /// An error; QEMU's own words, printable.
    case refused(PlainText)
    /// Nothing that QEMU answers.
    case nonsense
  }

  /// What the relay says to QEMU by itself.
  public enum Errand: Sendable {
    /// `qmp_capabilities`, once.
    case negotiate
    /// `query-migrate`: whether QEMU can be saved.
    case askBlockers
    /// `cont`.
    case resume

    var name: [UInt8] {
      switch self {
      case .negotiate: [UInt8](#""qmp_capabilities""#.utf8)
      case .askBlockers: [UInt8](#""query-migrate""#.utf8)
      case .resume: [UInt8](#""cont""#.utf8)
      }
    }
  }

  /// A line for QEMU, with its end, and the id by which its answer will be told.
  public struct Question: Sendable {
    public let id: UInt64
    public let line: [UInt8]
  }

  /// The answer to a client's command, QEMU's or one in its place.
  public struct Reply: Sendable {
    /// Nil if it has gone.
    public let client: UInt64?
    public let command: Command
    /// With its end.
    public let line: [UInt8]
    public let isError: Bool
  }

  public enum Event: Sendable { case stop, resume, other }

  /// Of a line from QEMU, what counts.
  public enum Message: Sendable {
    /// It has greeted: `greeting` is for all clients that come.
    case greeting
    /// For the clients that have negotiated, with its end.
    case event(Event, [UInt8])
    case reply(Reply)
    /// QEMU has done what it was to do before it takes commands; the words of an error.
    case negotiated(PlainText?)
    /// The answer to the question of that id.
    case blockers(UInt64, Blockers)
    /// The answer to `cont`; the words of an error.
    case resumed(PlainText?)
  }

  struct Outstanding {
    enum Sender {
      case client(UInt64)
      /// Of a client that has gone.
      case nobody
      case relay(Errand)
    }

    var sender: Sender
    /// Nil of an errand.
    let command: Command?
    let id: UInt64
    /// Somebody else has, in QEMU's place.
    var isAnswered = false

    /// In QEMU's place; nil if it is nobody's, or has one.
    func reply(_ text: PlainText) -> Reply? {
      guard let command, !isAnswered else { return nil }
      return Reply(client: client, command: command, line: error(command, text), isError: true)
    }

    var client: UInt64? {
      if case .client(let client) = sender { client } else { nil }
    }
  }

  /// Of all clients together; libxl sends one at a time.
  public static let maxOutstanding = 64
  static let maxGreetingBytes = 4096

  /// Sent to QEMU, without an answer so far; the oldest first.
  var outstanding: [Outstanding] = []
  /// What QEMU has said when it was connected with, spelled anew: for each client, with its end. It
  /// offers no capabilities, of which the relay has none.
  public internal(set) var greeting: [UInt8]?
  /// This connection has greeted.
  var isGreeted = false
  /// Commands may go to QEMU.
  public internal(set) var isReady = false
  private var nextID: UInt64

  public init(firstID: UInt64) { nextID = firstID }

  /// With an id that nobody can guess.
  public init() throws(SystemError) {
    // Fits into what QEMU reads as a number that is no fraction.
    self.init(firstID: try Randomness.words().0 >> 2)
  }

  // MARK: To QEMU

  /// The command goes to QEMU, and its reply is expected.
  ///
  /// - Returns: for QEMU, with its end; nil if there are too many already.
  public mutating func pass(_ command: Command, of client: UInt64) -> [UInt8]? {
    if outstanding.count >= QMPRelay.maxOutstanding { return nil }
    outstanding.append(Outstanding(sender: .client(client), command: command, id: nextID))
    defer { nextID &+= 1 }
    return command.line(nextID)
  }

  /// The relay itself says something to QEMU, for which there is room when there is none for clients.
  public mutating func ask(_ errand: Errand) -> Question? {
    if outstanding.count >= 2 * QMPRelay.maxOutstanding { return nil }
    outstanding.append(Outstanding(sender: .relay(errand), command: nil, id: nextID))
    defer { nextID &+= 1 }
    let command = Command(kind: .other, id: nil, arguments: nil, name: errand.name)
    return Question(id: nextID, line: command.line(nextID))
  }

  // MARK: In QEMU's place

  /// A client has gone: what QEMU still says to it is for nobody.
  public mutating func forget(_ client: UInt64) {
    for index in outstanding.indices where outstanding[index].client == client {
      outstanding[index].sender = .nobody
    }
  }

  /// The connection to QEMU is lost, and what it owes with it.
  ///
  /// - Returns: errors for the clients' commands.
  public mutating func lose(_ text: PlainText) -> [Reply] {
    isGreeted = false
    isReady = false
    defer { outstanding = [] }
    return outstanding.compactMap { $0.reply(text) }
  }

  /// An error in QEMU's place for a save that it has not answered; what it still says of it is
  /// dropped. Nil if it has none under way.
  public mutating func giveUpSave(_ text: PlainText) -> Reply? {
    guard let index = outstanding.firstIndex(where: { $0.command?.kind == .save && !$0.isAnswered })
    else { return nil }
    defer { outstanding[index].isAnswered = true }
    return outstanding[index].reply(text)
  }

  // MARK: What is under way

  public func owesReply(to client: UInt64) -> Bool {
    outstanding.contains { $0.client == client && !$0.isAnswered }
  }

  public func isSaving(for client: UInt64) -> Bool {
    outstanding.contains { $0.command?.kind == .save && $0.client == client && !$0.isAnswered }
  }

  /// Whether QEMU has been told to save, and nobody has answered.
  public var isSaving: Bool {
    outstanding.contains { $0.command?.kind == .save && !$0.isAnswered }
  }

  /// The oldest `stop` that QEMU has not answered: nil if there is none.
  public var stop: StopCause? {
    guard let oldest = outstanding.first(where: { $0.command?.kind == .stop }) else { return nil }
    return oldest.client.map { .client($0) } ?? .goneClient
  }

  /// Whose `stop` it was.
  public enum StopCause: Sendable, Equatable {
    case client(UInt64)
    case goneClient
  }
}
