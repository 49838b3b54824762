import SaveDisk
import SystemIO
import Transfer

/// libxl's own proxy, which a `QMPProxy` has running behind it, on a socket of its own.
struct ProxiedProgram: ~Copyable {
  /// Where it listens; the name goes with this.
  let socket: SystemPath
  private var process: ChildProcess
  private var started = MonotonicClock.nanoseconds
  private var earlyEnds = 0

  /// One that ends sooner than that has not worked.
  private static let earlyNanoseconds: UInt64 = 10_000_000_000
  private static let maxEarlyEnds = 3
  private static let lookMilliseconds: Int32 = 5

  static func start(_ options: QMPProxyOptions) throws(ToolError) -> ProxiedProgram {
    guard let socket = SystemPath(bytes: options.socket.bytes + [UInt8](".stubsave".utf8)) else {
      throw ToolError(.usage, options.socket) { $0.append("is no path") }
    }
    return ProxiedProgram(socket: socket, process: try start(options, socket))
  }

  private static func start(
    _ options: QMPProxyOptions, _ socket: SystemPath
  ) throws(ToolError) -> ChildProcess {
    // It refuses a name that is taken, and leaves its own behind.
    try? Names.remove(socket)
    return try attempt(options.program) { () throws(SystemError) in
      try ChildProcess.start(
        options.program, [options.program] + options.arguments + [socket], files: [],
        standardError: 2, isBound: true)
    }
  }

  private init(socket: SystemPath, process: consuming ChildProcess) {
    self.socket = socket
    self.process = process
  }

  /// Readable once it has ended.
  var number: Int32 { process.number }

  var processID: Int32 { process.id }

  /// Waits until it listens, or is about to, or has ended, which is heard of otherwise. Nothing connects to
  /// it for that: it takes one client at a time.
  ///
  /// - Returns: false if it does not in time.
  func listens(until deadline: Deadline) throws(SystemError) -> Bool {
    while (try? FileStatus.of(socket, followingLinks: false)) == nil {
      if deadline.hasPassed { return false }
      // Nothing tells that a name is there, but of its end.
      let soon = Deadline(timeoutMilliseconds: UInt64(ProxiedProgram.lookMilliseconds))
      if try Readable.wait(for: [Readable.Interest(process.number)], until: soon)[0] { return true }
    }
    return true
  }

  /// Connects to it; it may be about to listen.
  func connect(until deadline: Deadline) throws(SystemError) -> UnixSocket {
    while true {
      do throws(SystemError) {
        return try UnixSocket(connectingTo: socket)
      } catch {
        guard
          error.errno == Errno.noEntry || error.errno == Errno.connectionRefused
            || error.errno == Errno.wouldBlock, !deadline.hasPassed
        else { throw error }
      }
      // Nothing tells that somebody listens.
      try MonotonicClock.pause(milliseconds: ProxiedProgram.lookMilliseconds)
    }
  }

  /// It has ended; it may have been killed, or have lost the stubdomain's side for a moment.
  ///
  /// - Throws: if it ends again and again.
  mutating func startAgain(_ options: QMPProxyOptions) throws(ToolError) {
    let now = MonotonicClock.nanoseconds
    earlyEnds = now - started < ProxiedProgram.earlyNanoseconds ? earlyEnds + 1 : 0
    if earlyEnds > ProxiedProgram.maxEarlyEnds {
      throw ToolError(.stubdomainFailed, options.program) { $0.append("ends again and again") }
    }
    started = now
    process = try ProxiedProgram.start(options, socket)
  }

  var words: PlainText {
    var text = PlainText()
    text.append("libxl's own proxy had ended; it was started again")
    return text
  }

  mutating func end() { process.terminate() }

  deinit { try? Names.remove(socket) }
}
