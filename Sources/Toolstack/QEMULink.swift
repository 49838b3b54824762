import QEMUMonitor
import SaveDisk
import SystemIO

/// The one connection to a stubdomain's QEMU: made when somebody needs it, kept as long as it can be,
/// and made anew, after pauses that grow, when it is lost.
struct QEMULink: ~Copyable {
  private var connection: LineConnection<QMPTransport>?
  var relay: QMPRelay
  private var pauses = ConnectPauses()
  /// The next is not tried before.
  private var tryAgain = Deadline(timeoutMilliseconds: 0)
  /// Until when the present one may greet; nil once it has, or if nobody waits for that.
  private var greetingDeadline: Deadline?
  /// There is more in it than has been taken, which its descriptor need not tell.
  private(set) var hasMore = false
  /// Of this connection, lines that QEMU should not have said.
  private(set) var droppedLines: UInt64 = 0

  init(_ relay: QMPRelay) { self.relay = relay }

  var isConnected: Bool {
    switch connection {
    case .some: true
    case .none: false
    }
  }

  var isReady: Bool { relay.isReady }

  /// Nobody is there; somebody who comes anew has it tried anew.
  var isOver: Bool { !isConnected && pauses.isOver }

  var interest: Readable.Interest? {
    switch connection {
    case .some(let connection): connection.interest(toTake: true)
    case .none: nil
    }
  }

  // MARK: Connecting

  /// - Parameter isWanted: somebody needs QEMU.
  /// - Returns: when `heed` has something to do.
  func deadline(isWanted: Bool) -> Deadline? {
    if !isConnected { return isWanted && !pauses.isOver ? tryAgain : nil }
    return [isWanted ? greetingDeadline : nil, connectionDeadline].compactMap { $0 }.min()
  }

  private var connectionDeadline: Deadline? {
    switch connection {
    case .some(let connection): connection.sendDeadline
    case .none: nil
    }
  }

  var mayConnect: Bool { !isConnected && !pauses.isOver && tryAgain.hasPassed }

  /// It did not greet in time.
  var isMute: Bool { isConnected && !isReady && greetingDeadline?.hasPassed == true }

  mutating func connect(_ transport: consuming QMPTransport) {
    connection = LineConnection(transport)
    droppedLines = 0
    greetingDeadline = Deadline(timeoutMilliseconds: pauses.greetingMilliseconds)
  }

  /// Somebody has come who needs it. What was given up is tried anew, and a connection that had nobody
  /// to wait for its greeting has the whole time for it.
  mutating func isNeeded() {
    if isOver { pauses = ConnectPauses() }
    if isMute {
      greetingDeadline = Deadline(timeoutMilliseconds: pauses.greetingMilliseconds)
    }
  }

  mutating func noteFailure() { tryAgain = Deadline(timeoutMilliseconds: pauses.fail()) }

  mutating func hasGreeted() { greetingDeadline = nil }

  /// QEMU has answered.
  mutating func isWell() { pauses = ConnectPauses() }

  /// - Returns: errors for the clients' commands that QEMU has not answered.
  mutating func lose(_ text: PlainText) -> [QMPRelay.Reply] {
    connection = nil
    hasMore = false
    greetingDeadline = nil
    noteFailure()
    return relay.lose(text)
  }

  // MARK: Lines

  mutating func send(_ line: [UInt8]) throws(MonitorError) { try connection?.send(line) }

  mutating func flush() throws(MonitorError) { try connection?.flush() }

  /// The next line; nil if none has come.
  mutating func next() throws(MonitorError) -> [UInt8]? { try connection?.next() }

  /// Takes what has come; nothing is left that `next` could give.
  mutating func fill() throws(MonitorError) -> LineConnection<QMPTransport>.Filling {
    let filling = try connection?.fill() ?? .nothing
    hasMore = filling == .some
    return filling
  }

  mutating func noteDroppedLine() { droppedLines += 1 }
}
