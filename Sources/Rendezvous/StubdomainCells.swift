import SaveDisk
import SystemIO
import Xenstore

/// Cells in xenstore, as dom0 has them (formats/rendezvous.md, section 7.2): it makes the nodes,
/// gives the stubdomain what is the stubdomain's, and removes them.
public struct StubdomainCells: OfferingCells, ~Copyable {
  private var connection: XenstoreConnection
  private let domid: UInt32
  private let directory: SystemPath
  private let offer: SystemPath
  private let answer: SystemPath
  /// The cell's directory is ours: it is removed at the end.
  private var isMade = false

  private static let answerToken: UInt32 = 1
  private static let domainToken: UInt32 = 2

  /// Makes the nodes, and watches the answer and the domain's end.
  ///
  /// - Parameters:
  ///   - domid: of the stubdomain; 1 to 32751.
  ///   - connection: dom0's.
  public static func make(
    domid: UInt32, over connection: consuming XenstoreConnection
  ) throws(CellError) -> StubdomainCells {
    var cells = StubdomainCells(domid, connection)
    do throws(XenstoreError) {
      try cells.make()
    } catch {
      cells.end()
      throw .xenstore(error)
    }
    return cells
  }

  private init(_ domid: UInt32, _ connection: consuming XenstoreConnection) {
    self.domid = domid
    self.connection = connection
    let home = SystemPath(word: "/local/domain/", number: UInt64(domid))
    guard let directory = home.appending([UInt8]("stubsave".utf8)),
      let offer = directory.appending([UInt8]("offer".utf8)),
      let answer = directory.appending([UInt8]("answer".utf8))
    else { preconditionFailure() }
    self.directory = directory
    self.offer = offer
    self.answer = answer
  }

  private mutating func make() throws(XenstoreError) {
    connection.wind()
    guard try connection.isIntroduced(domid: domid) else { throw .notFound }
    isMade = true
    let nodes = making + [.write(offer, Offer.idle.encoded())]
    try connection.change { _, _ throws(XenstoreError) in nodes }
    try connection.watch(answer, token: Self.answerToken)
    try connection.watch(SystemPath(word: "@releaseDomain"), token: Self.domainToken)
  }

  /// What is there already is left as it is, but for its permissions.
  private var making: [XenstoreChange] {
    give(directory, .read) + give(offer, .read) + give(answer, .readWrite)
  }

  /// A node of dom0's with so much for the stubdomain.
  private func give(
    _ node: SystemPath, _ access: XenstorePermission.Access
  ) -> [XenstoreChange] {
    [
      .makeDirectory(node),
      .setPermissions(
        node, [XenstorePermission(.none, domid: 0), XenstorePermission(access, domid: domid)]),
    ]
  }

  public var number: Int32 { connection.number }

  /// With everything that the stubdomain has put below it, and whatever somebody may have removed.
  public mutating func renew() throws(CellError) {
    connection.wind()
    let nodes = [.remove(answer)] + making
    do throws(XenstoreError) {
      try connection.change { _, _ throws(XenstoreError) in nodes }
    } catch {
      throw .xenstore(error)
    }
  }

  public mutating func say(_ message: [UInt8]) throws(CellError) {
    connection.wind()
    do throws(XenstoreError) {
      try connection.write(offer, message)
    } catch {
      throw .xenstore(error)
    }
  }

  public mutating func look() throws(CellError) -> [UInt8]? {
    connection.wind()
    do throws(XenstoreError) {
      var events = try connection.takeEvents()
      var isAnswered = events.contains(Self.answerToken)
      while events.contains(Self.domainToken) {
        if try !connection.isIntroduced(domid: domid) { throw XenstoreError.closed }
        // What has come with that reply: the descriptor does not tell of it any more. Another
        // domain's end, or this one's after all.
        events = try connection.takeEvents()
        isAnswered = isAnswered || events.contains(Self.answerToken)
      }
      guard isAnswered else { return nil }
      return try connection.cell(answer)
    } catch {
      switch error {
      case .closed: throw .gone
      // Not there: as good as empty.
      case .notFound: return []
      default: throw .xenstore(error)
      }
    }
  }

  public mutating func end() {
    guard isMade else { return }
    isMade = false
    connection.wind()
    // Who is not told now is told by `gc`.
    try? connection.remove(directory)
  }
}
