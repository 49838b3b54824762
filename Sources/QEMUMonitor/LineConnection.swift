import SystemIO

/// Lines that come and go over a channel, each of at most `Monitor.maxLineBytes`. What cannot be sent
/// at once waits here, and for it a deadline runs: nobody else waits because of it.
public struct LineConnection<Channel: ByteChannel & ~Copyable>: ~Copyable {
  private var channel: Channel
  private var lines = LineBuffer(maxLineBytes: Monitor.maxLineBytes)
  /// What is still to be sent, and from where on.
  private var unsent: [UInt8] = []
  private var sent = 0
  /// Until when some of it must have been taken; nil if nothing waits.
  public private(set) var sendDeadline: Deadline?

  /// For the other side to take at least one byte.
  private static var sendMilliseconds: UInt64 { 10_000 }

  /// Takes over a channel that is connected.
  public init(_ channel: consuming Channel) { self.channel = channel }

  public var unsentBytes: Int { unsent.count - sent }

  /// What to wait for: what has come, unless it is not wanted now, and room for what is to be sent.
  public func interest(toTake: Bool) -> Readable.Interest {
    channel.interest(toTake: toTake, toSend: unsentBytes > 0)
  }

  /// The next whole line without its end; nil if none has come.
  public mutating func next() throws(MonitorError) -> [UInt8]? { try lines.next() }

  public enum Filling: Sendable {
    /// Nothing has come.
    case nothing
    case some
    /// The channel is lost.
    case end
  }

  /// Takes what has come. To be called after `next` has given nil.
  public mutating func fill() throws(MonitorError) -> Filling {
    do throws(SystemError) {
      switch try lines.fill(from: &channel) {
      case nil: return .nothing
      case 0?: return .end
      case _?: return .some
      }
    } catch {
      throw error.meansClosed ? .closed("a line") : .system(error)
    }
  }

  /// Sends a line, or what can be sent of it now; the rest is for `flush`.
  ///
  /// - Parameter line: with its end.
  public mutating func send(_ line: [UInt8]) throws(MonitorError) {
    unsent += line
    try flush()
  }

  /// Sends what can be sent now.
  ///
  /// - Throws: `.closed`, also if nothing could be sent for too long.
  public mutating func flush() throws(MonitorError) {
    let before = sent
    do throws(SystemError) {
      sent = try Self.send(unsent, from: sent, over: &channel)
    } catch {
      throw error.meansClosed ? .closed("room for a line") : .system(error)
    }
    if sent == unsent.count {
      unsent.removeAll(keepingCapacity: unsent.count <= 65_536)
      sent = 0
      sendDeadline = nil
    } else if sent > before || sendDeadline == nil {
      sendDeadline = Deadline(timeoutMilliseconds: Self.sendMilliseconds)
    } else if sendDeadline?.hasPassed == true {
      throw .closed("room for a line")
    }
  }

  /// - Returns: how far they have been sent.
  private static func send(
    _ bytes: [UInt8], from start: Int, over channel: inout Channel
  ) throws(SystemError) -> Int {
    var sent = start
    while sent < bytes.count {
      let count = try unsafe channel.send(bytes.span.bytes.extracting(sent..<bytes.count))
      if count == 0 { break }
      sent += count
    }
    return sent
  }
}
