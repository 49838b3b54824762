import QEMUMonitor
import SaveDisk
import SystemIO
import Transfer
import Xen
import Xenstore

public struct QMPProxyOptions: Sendable {
  public let stubdomain: UInt32
  /// The guest, by whose domid libxl names the files.
  public let target: UInt32
  /// Where libxl connects to.
  public let socket: SystemPath
  /// libxl's own proxy, which this one starts.
  public let program: SystemPath
  /// Its arguments, without the last, the socket, and without a node to say in that it runs: that is for
  /// this one to say, once all is prepared that libxl relies on.
  public let arguments: [SystemPath]
  /// The node by which libxl learns that a proxy runs; nil if nobody asks.
  public let statePath: SystemPath?
  /// Its output is where libxl looks for a state that has been saved.
  public var dump: DumpOptions
  /// Its input is where libxl has put a state to be restored.
  public var restore: RestoreOptions
  public var place: StubdomainPlace
  /// Of each file that the stubdomain's consoles are written to in dom0; 0 is no limit.
  public var maxConsoleBytes: UInt64 = defaultMaxConsoleBytes

  /// More than any log that somebody would read, less than a disk.
  public static let defaultMaxConsoleBytes: UInt64 = 1 << 30
  /// QEMU 10 keeps its display in a file in memory, of 640 x 480 pixels of 4 bytes, for which the limit holds,
  /// too: with less than 1,228,800 bytes the kernel ends it.
  public static let minConsoleBytes: UInt64 = 2 << 20

  public init(
    stubdomain: UInt32, target: UInt32, socket: SystemPath, program: SystemPath,
    arguments: [SystemPath], statePath: SystemPath?, place: StubdomainPlace, dump: DumpOptions,
    restore: RestoreOptions
  ) {
    self.stubdomain = stubdomain
    self.target = target
    self.socket = socket
    self.program = program
    self.arguments = arguments
    self.statePath = statePath
    self.place = place
    self.dump = dump
    self.restore = restore
  }
}

/// `qmp-proxy`: stands where libxl starts its vchan-socket-proxy, between libxl and the QMP of a
/// stubdomain's QEMU. It has one connection to that QEMU as long as the stubdomain lives, whoever
/// of libxl's clients comes and goes.
///
/// libxl begins a save with `xen-set-global-dirty-log`, while the guest still runs: that is when the
/// disk is attached. It ends with the reply to `xen-save-devices-state`: libxl then reads the state
/// from a file, so the reply is held until the state lies there, verified, or is an error.
///
/// For a restore libxl has written the state to a file before it starts the proxy, and starts the
/// stubdomain once the proxy runs: so the state is judged first, and a bad one ends the proxy, and
/// with it the restore, at once.
public struct QMPProxy: ~Copyable {
  let options: QMPProxyOptions
  let signals: Int32
  let listener: UnixListener
  var program: ProxiedProgram
  var mark: ProxyMark
  var watch: DomainWatch?
  /// In the order in which they have come.
  var clients: [ProxyClient] = []
  var lastClient: UInt64 = 0
  var link: QEMULink
  var session: SaveSession?
  /// Of a save without an agent: what is to come over the console.
  var consoleState: ConsoleState?
  /// Until QEMU has said whether it can be saved.
  var held: Held?
  /// Until when QEMU may work at a save.
  var saveDeadline: Deadline?
  /// When the disk is taken back, if nobody says a word before.
  var sessionDeadline: Deadline?
  /// Who lets a guest go on that libxl has stopped.
  var guestStop = GuestStop()
  /// When this proxy does, if nobody else has.
  var resumeTime: Deadline?
  var isResuming = false
  let log: (PlainText) -> Void

  /// Runs until the domain has ended, by SIGHUP or by what xenstored tells.
  public static func run(
    _ options: QMPProxyOptions, log: @escaping (PlainText) -> Void
  ) throws(ToolError) {
    let signals = try attempt(options.socket) { () throws(SystemError) in try EndingSignals() }
    do throws(ToolError) {
      var mark = try ProxyMark.claim(options.stubdomain)
      for said in mark.takeInheritance() { log(said) }
      let given = try RestoreSession.given(options)
      let listener = try attempt(options.socket) { () throws(SystemError) in
        try UnixListener(options.socket)
      }
      let program = try ProxiedProgram.start(options)
      let relay = try attempt(options.socket) { () throws(SystemError) in try QMPRelay() }
      var proxy = QMPProxy(options, signals.number, listener, program, mark, relay, log)
      proxy.standBy()
      try proxy.prepareConsoles()
      try proxy.announce()
      proxy.collect()
      proxy.inherit()
      if let given { RestoreSession.run(given, options, signals.number, log) }
      try proxy.serve()
      proxy.end()
    } catch {
      refuse(options, error)
      throw error
    }
    signals.settle()
  }

  /// Where libxl looks whether the proxy runs: its log then tells why not.
  private static func refuse(_ options: QMPProxyOptions, _ error: ToolError) {
    guard let path = options.statePath else { return }
    var text = PlainText()
    text.append("stubsave: ")
    text.append(escaping: error.text.bytes, maxBytes: 1024)
    try? DomainWatch.say(text, at: path, options.place.xenstore)
  }

  private init(
    _ options: QMPProxyOptions, _ signals: Int32, _ listener: consuming UnixListener,
    _ program: consuming ProxiedProgram, _ mark: consuming ProxyMark, _ relay: QMPRelay,
    _ log: @escaping (PlainText) -> Void
  ) {
    self.options = options
    self.signals = signals
    self.listener = listener
    self.program = program
    self.mark = mark
    link = QEMULink(relay)
    self.log = log
  }

  /// What concerns the stubdomain beside its QMP; without a xenstored the rest goes on.
  private mutating func standBy() {
    do throws(XenError) {
      watch = try DomainWatch(domid: options.stubdomain, options.place.xenstore)
    } catch {
      logFailure(options.place.xenstore, ToolError(error, options.place.name))
    }
  }

  /// Proxies that were killed, of domains that are no more; after libxl has what it waits for.
  private func collect() {
    do throws(ToolError) {
      for said in try Collecting.run(options.place.xenstore, waits: false) { log(said) }
    } catch {
      log(error.text)
    }
  }

  // MARK: The end

  mutating func endSession() {
    sessionDeadline = nil
    guard let session = session.take() else { return }
    for said in session.end() { log(said) }
  }

  private mutating func end() {
    clients = []
    endSession()
    program.end()
    mark.end()
  }
}
