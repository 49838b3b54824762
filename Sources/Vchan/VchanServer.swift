import CXenVchan
import SystemIO

/// The server's end, which any number of clients may use, one after the other and without a pause
/// between them.
///
/// libxenvchan lets clients come again (`server_persist`) but does not say when: `cli_live` in the
/// page is 1 again before anybody has looked, if the next one is quick. vchan-socket-proxy then takes the
/// second client for the first, and both wait for ever. Here a bit tells them apart that each new
/// client clears (`stubsave_vchan_mark_client`).
public struct VchanServer: ~Copyable {
  private var end: VchanEnd
  private var hasClient = false
  /// One has begun before there was a mark to clear.
  private var hasUnseen: Bool

  /// Who is at the other end.
  public enum Client: Sendable {
    case none
    /// The one of the last look.
    case same
    /// One that has come since.
    case another
  }

  /// Makes the rings, the event channel and the nodes in xenstore that name them. Rings as
  /// vchan-socket-proxy has them: both in one page, 1 KiB to here and 2 KiB from here.
  ///
  /// Waits for xenstored.
  ///
  /// - Parameter client: the domain that may connect.
  public static func open(
    for client: UInt16, at path: SystemPath
  ) throws(VchanError) -> VchanServer {
    VchanServer(
      end: try unsafe VchanEnd(path) {
        unsafe libxenvchan_server_init(nil, Int32(client), $0, 0, 0)
      })
  }

  private init(end: consuming VchanEnd) {
    self.end = end
    // The nodes are there already, and a client may have been quick.
    hasUnseen = !self.end.markNewServer()
  }

  /// As `VchanEnd` has them.
  public var number: Int32? { end.number }
  public var restDeadline: Deadline? { end.restDeadline }
  public mutating func takeEvent() throws(VchanError) { try end.takeEvent() }

  /// Looks at who is there.
  public mutating func look() -> Client {
    if end.isResting { return hasClient ? .same : .none }
    // In this order. A client sets `cli_live` and then clears the mark: whoever has cleared it before this
    // is seen as live, and whoever does it later is found by the next look, for which it notifies.
    let isSame = end.markClient() && !hasUnseen
    hasUnseen = false
    guard end.isClientLive else {
      hasClient = false
      return .none
    }
    if !isSame {
      hasClient = true
      end.began()
      return .another
    }
    // Without the mark cleared it has only begun.
    return hasClient ? .same : .none
  }

  /// What a client that has gone has written, or has not read, is not for the next one.
  ///
  /// - Parameter isFollowed: the next one is there already. Then what was not read stays: it may be
  ///   reading it at this moment.
  public mutating func forgetClient(isFollowed: Bool) throws(VchanError) {
    try end.drop()
    if !isFollowed { try end.takeBack() }
  }

  public mutating func read(
    into buffer: inout MutableRawSpan, from start: Int
  ) throws(VchanError) -> Int { try end.read(into: &buffer, from: start) }

  public mutating func write(_ bytes: RawSpan) throws(VchanError) -> Int { try end.write(bytes) }
}
