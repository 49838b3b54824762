import SystemIO
import Xenstore

/// Cells in xenstore, as the agent has them.
public struct XenstoreCells: Cells, ~Copyable {
  private var connection: XenstoreConnection
  private let mine: SystemPath
  private let others: SystemPath
  private let timeoutMilliseconds: UInt64
  private static let token: UInt32 = 1

  /// Watches the other side's cell.
  ///
  /// - Parameters:
  ///   - timeoutMilliseconds: for each request to xenstored.
  ///   - mine: the node that this side writes; made by dom0.
  ///   - others: the node that the other side writes.
  public static func watching(
    _ others: SystemPath, saying mine: SystemPath, over connection: consuming XenstoreConnection,
    timeoutMilliseconds: UInt64
  ) throws(CellError) -> XenstoreCells {
    var cells = XenstoreCells(
      connection: connection, mine: mine, others: others,
      timeoutMilliseconds: timeoutMilliseconds)
    cells.wind()
    do throws(XenstoreError) {
      try cells.connection.watch(others, token: token)
    } catch {
      throw .xenstore(error)
    }
    return cells
  }

  private init(
    connection: consuming XenstoreConnection, mine: SystemPath, others: SystemPath,
    timeoutMilliseconds: UInt64
  ) {
    self.timeoutMilliseconds = timeoutMilliseconds
    self.connection = connection
    self.mine = mine
    self.others = others
  }

  public var number: Int32 { connection.number }

  /// The time for the next requests begins.
  private mutating func wind() {
    connection.deadline = Deadline(timeoutMilliseconds: timeoutMilliseconds)
  }

  public mutating func lookAtOwn() throws(CellError) -> [UInt8]? {
    wind()
    do throws(XenstoreError) {
      return [UInt8](try connection.read(mine).prefix(MessageFields.maxBytes + 1))
    } catch {
      // dom0 has made none, or not given it yet.
      if error == .notFound || error == .permission { return nil }
      throw .xenstore(error)
    }
  }

  /// It is dom0 that does this.
  public mutating func renew() {}
  public mutating func end() {}

  public mutating func say(_ message: [UInt8]) throws(CellError) {
    wind()
    do throws(XenstoreError) {
      try connection.write(mine, message)
    } catch {
      // dom0 has removed the cell, or is making it anew: nobody listens to this any more.
      if error == .notFound || error == .permission { return }
      throw .xenstore(error)
    }
  }

  public mutating func look() throws(CellError) -> [UInt8]? {
    wind()
    do throws(XenstoreError) {
      guard try connection.takeEvents().contains(Self.token) else { return nil }
      return [UInt8](try connection.read(others).prefix(MessageFields.maxBytes + 1))
    } catch {
      // Not there: as good as empty.
      if error == .notFound { return [] }
      throw .xenstore(error)
    }
  }
}
