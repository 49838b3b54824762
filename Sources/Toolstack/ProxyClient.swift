import QEMUMonitor
import SaveDisk
import SystemIO

/// One of libxl's connections to a `QMPProxy`.
final class ProxyClient {
  /// Of this one and of no other, before or after.
  let id: UInt64
  var connection: LineConnection<UnixSocket>
  var negotiation = QMPNegotiation()
  var isGreeted = false
  /// A command that QEMU is not there for; what follows it waits in the connection.
  var waiting: Waiting?
  /// It has been answered by then, in whatever way.
  let greetBy = Deadline(timeoutMilliseconds: ProxyClient.answerMilliseconds)
  /// When it has last said something.
  var lastHeard = MonotonicClock.nanoseconds
  private(set) var droppedEvents: UInt64 = 0

  struct Waiting {
    let command: QMPRelay.Command
    let arrival: Arrival
  }

  /// What libxl's own limit of 10 s (libxl_qmp.c) leaves for a command that has just come.
  struct Arrival {
    /// For an answer.
    let answerBy = Deadline(timeoutMilliseconds: ProxyClient.answerMilliseconds)
    /// For what the command itself needs before libxl may go on: a disk that did not come to be has
    /// to be taken back. Takes a fraction of a second; a starved stubdomain took more than 4.
    let readyBy = Deadline(timeoutMilliseconds: ProxyClient.readyMilliseconds)
  }

  private static let answerMilliseconds: UInt64 = 9_000
  private static let readyMilliseconds: UInt64 = 7_000
  /// Events that a client does not take: a stubdomain could fill dom0's memory.
  private static let maxEventBytes = 256 << 10
  /// Of a client that takes nothing at all.
  private static let maxUnsentBytes = 8 << 20

  init(_ id: UInt64, _ socket: consuming UnixSocket) {
    self.id = id
    connection = LineConnection(socket)
  }

  /// - Parameter line: with its end.
  func send(_ line: [UInt8]) throws(MonitorError) {
    if connection.unsentBytes + line.count > ProxyClient.maxUnsentBytes {
      throw .closed("room for a line")
    }
    try connection.send(line)
  }

  func greet(_ greeting: [UInt8]) throws(MonitorError) {
    isGreeted = true
    try send(greeting)
  }

  /// Not before it has negotiated, and none that there is no room for.
  func tell(event line: [UInt8]) throws(MonitorError) {
    if !negotiation.isDone { return }
    if connection.unsentBytes > ProxyClient.maxEventBytes {
      droppedEvents += 1
      return
    }
    try send(line)
  }
}
