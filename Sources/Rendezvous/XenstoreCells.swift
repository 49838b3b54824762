import SystemIO
import Xenstore

/// Cells in xenstore, as the agent has them.
public struct XenstoreCells: AnsweringCells, ~Copyable {
  private var connection: XenstoreConnection
  private let mine: SystemPath
  private let others: SystemPath
  private static let token: UInt32 = 1

  /// Watches the other side's cell.
  ///
  /// - Parameters:
  ///   - mine: the node that this side writes; made by dom0.
  ///   - others: the node that the other side writes.
  public static func watching(
    _ others: SystemPath, saying mine: SystemPath, over connection: consuming XenstoreConnection
  ) throws(CellError) -> XenstoreCells {
    var cells = XenstoreCells(connection: connection, mine: mine, others: others)
    cells.connection.wind()
    do throws(XenstoreError) {
      try cells.connection.watch(others, token: token)
    } catch {
      throw .xenstore(error)
    }
    return cells
  }

  private init(
    connection: consuming XenstoreConnection, mine: SystemPath, others: SystemPath
  ) {
    self.connection = connection
    self.mine = mine
    self.others = others
  }

  public var number: Int32 { connection.number }

  public mutating func lookAtOwn() throws(CellError) -> [UInt8]? {
    connection.wind()
    do throws(XenstoreError) {
      return try connection.cell(mine)
    } catch {
      // dom0 has made none, or not given it yet.
      if error == .notFound || error == .permission { return nil }
      throw .xenstore(error)
    }
  }

  public mutating func say(_ message: [UInt8]) throws(CellError) {
    connection.wind()
    do throws(XenstoreError) {
      try connection.write(mine, message)
    } catch {
      // dom0 has removed the cell, or is making it anew: nobody listens to this any more.
      if error == .notFound || error == .permission { return }
      throw .xenstore(error)
    }
  }

  public mutating func look() throws(CellError) -> [UInt8]? {
    connection.wind()
    do throws(XenstoreError) {
      guard try connection.takeEvents().contains(Self.token) else { return nil }
      return try connection.cell(others)
    } catch {
      // Not there: as good as empty.
      if error == .notFound { return [] }
      throw .xenstore(error)
    }
  }
}
