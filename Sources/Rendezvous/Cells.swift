import SystemIO
import Xenstore

/// One side's view of the two cells (formats/rendezvous.md, section 1): it writes one and reads
/// the other.
public protocol Cells: ~Copyable {
  /// To be waited for by poll(2): readable when the other side's cell may have changed.
  var number: Int32 { get }
  /// Puts a message into this side's cell, in place of the one that is there.
  mutating func say(_ message: [UInt8]) throws(CellError)
  /// What is in the other side's cell, if that may have changed since the last look; nil if not.
  /// At most `MessageFields.maxBytes` and one byte of it. Does not wait.
  mutating func look() throws(CellError) -> [UInt8]?
}

public enum CellError: Error, Equatable, Sendable {
  /// The other side's process has ended, or its domain has.
  case gone
  case system(SystemError)
  case xenstore(XenstoreError)
}

/// Cells over a pair of sockets that keep packets apart, between two processes of one machine.
public struct SocketCells: Cells, ~Copyable {
  private let socket: UnixSocket
  private var buffer = AlignedBuffer(byteCount: SocketCells.maxPacketBytes)

  /// A message and a byte: of a longer packet the rest is lost, and it shows that it was longer.
  private static let maxPacketBytes = 256

  /// - Parameter number: of a connected socket of the kind SOCK_SEQPACKET; taken over.
  public init(owning number: Int32) { socket = UnixSocket(owning: number) }

  public var number: Int32 { socket.number }

  public mutating func say(_ message: [UInt8]) throws(CellError) {
    do throws(SystemError) {
      // A packet goes whole or not at all. If none goes now, the other side has so many to read
      // already that it will look at a newer one.
      _ = try unsafe socket.send(message.span.bytes, passing: nil)
    } catch {
      throw Self.failure(error)
    }
  }

  public mutating func look() throws(CellError) -> [UInt8]? {
    var newest: [UInt8]?
    // Only the last packet counts; that many at once, so that no flood keeps us here.
    for _ in 0..<64 {
      guard let count = try receive() else { return newest }
      newest = buffer.array(0..<count)
    }
    return newest
  }

  /// The length of the next packet; nil if there is none now.
  private mutating func receive() throws(CellError) -> Int? {
    let count: Int?
    do throws(SystemError) {
      count = try Self.receive(socket, into: &buffer)
    } catch {
      throw Self.failure(error)
    }
    if count == 0 { throw .gone }
    return count
  }

  private static func receive(
    _ socket: borrowing UnixSocket, into buffer: inout AlignedBuffer
  ) throws(SystemError) -> Int? {
    var target = buffer.mutableBytes(0..<maxPacketBytes)
    return try socket.receive(into: &target, from: 0)
  }

  private static func failure(_ error: SystemError) -> CellError {
    error.meansClosed ? .gone : .system(error)
  }
}

/// Cells in xenstore.
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
      guard try connection.nextEvent() != nil else { return nil }
      // The others say no more: the node is read as it is now. So many at once, because who writes
      // in a loop could go on for ever.
      for _ in 0..<64 {
        if try connection.nextEvent() == nil { break }
      }
      return [UInt8](try connection.read(others).prefix(MessageFields.maxBytes + 1))
    } catch {
      // Not there: as good as empty.
      if error == .notFound { return [] }
      throw .xenstore(error)
    }
  }
}
