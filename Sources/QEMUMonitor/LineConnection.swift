import SystemIO

/// A socket over which lines come and go, each of at most `Monitor.maxLineBytes`.
public struct LineConnection: ~Copyable {
  private let socket: UnixSocket
  private var lines = LineBuffer(maxLineBytes: Monitor.maxLineBytes)

  /// Takes over a socket that is connected.
  public init(_ socket: consuming UnixSocket) { self.socket = socket }

  public var number: Int32 { socket.number }

  /// The next whole line without its end; nil if none has come.
  public mutating func next() throws(MonitorError) -> [UInt8]? { try lines.next() }

  /// Takes what has come. To be called after `next` has given nil.
  ///
  /// - Returns: false at its end.
  public mutating func fill() throws(MonitorError) -> Bool {
    do throws(SystemError) {
      return try lines.fill(from: socket) != 0
    } catch {
      throw error.meansClosed ? .closed("a line") : .system(error)
    }
  }

  /// - Parameter line: with its end.
  public borrowing func send(_ line: [UInt8], until deadline: Deadline) throws(MonitorError) {
    var done = 0
    do throws(SystemError) {
      while done < line.count {
        guard try socket.wait(toWrite: true, until: deadline, signals: nil) == .ready else {
          throw SystemError(.send, errno: Errno.timedOut)
        }
        done += try unsafe socket.send(
          line.span.bytes.extracting(done..<line.count), passing: nil)
      }
    } catch {
      throw error.meansClosed ? .closed("room for a line") : .system(error)
    }
  }
}
