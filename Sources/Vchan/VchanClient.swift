import CXenVchan
import SystemIO

/// The client's end, towards a domain that is not trusted.
///
/// The page belongs to that domain: as long as this is there, the domain's memory is not all free
/// when it has been destroyed. Nothing tells a client that its server's domain has died: whoever has
/// this looks out for that.
public struct VchanClient: ~Copyable {
  private var end: VchanEnd

  /// Connects to the server that has written its nodes at `path`.
  ///
  /// The first bytes may be some that were meant for a client before this one.
  ///
  /// - Throws: `.cannotOpen` if there is none, or its nodes are those of one that is no more.
  public static func open(
    to server: UInt32, at path: SystemPath
  ) throws(VchanError) -> VchanClient {
    let end = try unsafe VchanEnd(path) {
      unsafe libxenvchan_client_init(nil, Int32(clamping: server), $0)
    }
    // A page may outlive the server that has shared it.
    guard end.isServerLive else { throw .closed }
    return VchanClient(end: end)
  }

  private init(end: consuming VchanEnd) { self.end = end }

  /// To be waited for: readable when the server has notified, for bytes and for room alike; always
  /// writable.
  public var number: Int32 { end.number ?? -1 }

  /// Takes a notification if there is one. Waits for a moment where they come without an end.
  public mutating func takeEvent() throws(VchanError) {
    do throws(SystemError) {
      while let rest = end.restDeadline, !rest.hasPassed {
        try MonotonicClock.pause(milliseconds: rest.remainingMilliseconds)
      }
      guard
        try Readable.wait(
          for: [Readable.Interest(number)], until: Deadline(timeoutMilliseconds: 0))[0]
      else { return }
    } catch {
      throw .system(error)
    }
    try end.takeEvent()
  }

  /// Whether there is something to be read, or room. If not, the server notifies when there is.
  public var hasBytes: Bool { end.hasBytes }
  public var hasRoom: Bool { end.hasRoom }

  /// Whether the server says that it is there. Once it is not, what it still has written can be read.
  public var isOpen: Bool { end.isServerLive }

  public mutating func read(
    into buffer: inout MutableRawSpan, from start: Int
  ) throws(VchanError) -> Int { try end.read(into: &buffer, from: start) }

  public mutating func write(_ bytes: RawSpan) throws(VchanError) -> Int { try end.write(bytes) }
}
