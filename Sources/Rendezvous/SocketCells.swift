import SystemIO

/// Cells over a pair of sockets that keep packets apart, between two processes of one machine.
public struct SocketCells: OfferingCells, AnsweringCells, ~Copyable {
  private let socket: UnixSocket
  /// The other side has ended; what it said last is still to be seen.
  private var hasEnded = false
  private var buffer = AlignedBuffer(byteCount: SocketCells.maxPacketBytes)

  /// A message and a byte: of a longer packet the rest is lost, and it shows that it was longer.
  private static let maxPacketBytes = 256

  /// - Parameter descriptor: a connected socket of the kind SOCK_SEQPACKET.
  public init(_ descriptor: consuming FileDescriptor) { socket = UnixSocket(descriptor) }

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

  /// A packet stands for what was in the cell: there is no other side's to empty.
  public mutating func renew() {}
  public mutating func lookAtOwn() -> [UInt8]? { nil }

  /// The other side sees the end, after what has been said.
  public mutating func end() { socket.finish() }

  public mutating func look() throws(CellError) -> [UInt8]? {
    var newest: [UInt8]?
    // Only the last packet counts; that many at once, so that no flood keeps us here.
    for _ in 0..<64 {
      guard let count = try receive() else { break }
      newest = buffer.array(0..<count)
    }
    if newest == nil && hasEnded { throw .gone }
    return newest
  }

  /// The length of the next packet; nil if there is none now.
  private mutating func receive() throws(CellError) -> Int? {
    if hasEnded { return nil }
    let count: Int?
    do throws(SystemError) {
      count = try Self.receive(socket, into: &buffer)
    } catch {
      let failure = Self.failure(error)
      if failure != .gone { throw failure }
      count = 0
    }
    guard count == 0 else { return count }
    hasEnded = true
    return nil
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
