import ArgumentParser
import Rendezvous
import SaveDisk
import SystemIO
import Toolstack
import Transfer
import Xen

/// libxl's vchan-socket-proxy, with its command line.
struct QMPProxyCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "qmp-proxy",
    abstract:
      "Stand in the place of libxl's vchan-socket-proxy, so that 'xl save' goes over a disk.",
    discussion: """
      libxl starts it, not you: 'stubsave hooks' puts it there. libxl's own program runs behind it, \
      and gets everything that is not the QMP of a stubdomain's QEMU.

      'stubsave-qmp-proxy' is the same with vchan-socket-proxy's own command line, for a Xen that is \
      built to start it.
      """)

  @OptionGroup var place: ProxyPlace

  @OptionGroup var settings: ProxySettings

  /// Of `stubsave-qmp-proxy`, for messages.
  @Flag(help: .hidden)
  var byFile = false

  @Flag(name: .shortAndLong, help: "As vchan-socket-proxy has it.")
  var verbose = false

  @Option(
    name: .shortAndLong, help: ArgumentHelp("As vchan-socket-proxy has it.", valueName: "mode"))
  var mode: String?

  @Option(
    name: .shortAndLong, help: ArgumentHelp("As vchan-socket-proxy has it.", valueName: "path"))
  var statePath: PathArgument?

  /// Of Qubes' vchan-socket-proxy.
  @Option(
    name: .shortAndLong,
    help: ArgumentHelp("As Qubes' vchan-socket-proxy has it.", valueName: "byte"))
  var reconnectMarker: UInt8?

  @Argument(help: ArgumentHelp("The stubdomain.", valueName: "domid"))
  var stubdomain: UInt32

  @Argument(help: ArgumentHelp("The channel's node in xenstore.", valueName: "node"))
  var channel: PathArgument

  @Argument(help: ArgumentHelp("Where libxl connects to.", valueName: "socket"))
  var socket: PathArgument

  func run() throws {
    SignalsAsErrors.ofPipes()
    settings.sandbox.apply(timeoutMilliseconds: settings.timeout.milliseconds)
    try Console.run(json: false) { () throws(ToolError) -> ExitStatus in
      let program = try Hooks.libxlsOwn(place.program?.path)
      guard let target = QMPChannel.target(of: channel.path, stubdomain), isForLibxl else {
        return try become(program)
      }
      try QMPProxy.run(try options(target, program)) { Console.complain($0) }
      return .good
    }
  }

  /// It listens at a path for clients, one after the other.
  private var isForLibxl: Bool {
    if let mode, mode != "client" { return false }
    let word = ArgumentText.encode(socket.path.bytes)
    // strtoll(3) takes it for an open file's number.
    let isHex = word.hasPrefix("0x") || word.hasPrefix("0X")
    return word != "-" && Int64(word) == nil
      && !(isHex && Int64(word.dropFirst(2), radix: 16) != nil)
  }

  private func options(
    _ target: UInt32, _ program: SystemPath
  ) throws(ToolError) -> QMPProxyOptions {
    let xenstore = self.place.xenstore
    var place = StubdomainPlace(.domid(stubdomain))
    if let xenstore { place.xenstore = xenstore.path }
    place.maxSumBytes = settings.maxDisks.bytes
    var transfer = TransferSettings(.stubdomain(place), spoolDirectory: SpoolDirectory.path)
    transfer.maxStateBytes = settings.maxState.bytes
    transfer.timeoutMilliseconds = settings.timeout.milliseconds
    transfer.blockers = settings.ignoreBlockers ? .ignore : .heed
    transfer.ignoreBlockersOption =
      byFile
      ? "`ignore-blockers` in qmp-proxy.conf" : "`stubsave hooks install xl --ignore-blockers`"
    var dump = DumpOptions(transfer, output: try file("qemu-save.", target))
    // libxl reads it at once, and removes it.
    dump.isDurable = false
    var restore = RestoreOptions(transfer, input: try file("qemu-resume.", target))
    restore.isRootsFile = true
    restore.requiresTrailer = !settings.trailer.acceptUnverified
    restore.acceptOption =
      byFile
      ? "`accept-unverified` in qmp-proxy.conf"
      : "`stubsave hooks install xl --accept-unverified`"
    restore.isForced = settings.anyDevices
    restore.forceOption =
      byFile ? "`any-devices` in qmp-proxy.conf" : "`stubsave hooks install xl --any-devices`"
    var options = QMPProxyOptions(
      stubdomain: stubdomain, target: target, socket: socket.path, program: program,
      arguments: libxls(withStatePath: false), statePath: statePath?.path, place: place, dump: dump,
      restore: restore)
    options.maxConsoleBytes = settings.maxConsole.bytes
    return options
  }

  private func file(_ name: StaticString, _ target: UInt32) throws(ToolError) -> SystemPath {
    let name = [UInt8](SystemPath(word: name, number: UInt64(target)).bytes)
    if let file = place.states.path.appending(name) { return file }
    throw ToolError(.usage, place.states.path) { $0.append("is no directory") }
  }

  /// libxl's arguments, without the socket.
  private func libxls(withStatePath: Bool) -> [SystemPath] {
    var words: [SystemPath] = []
    if verbose { words.append(SystemPath(word: "--verbose")) }
    if let mode {
      words += [SystemPath(word: "--mode"), PathArgument(argument: mode)?.path].compactMap { $0 }
    }
    if withStatePath, let statePath { words += [SystemPath(word: "--state-path"), statePath.path] }
    if let reconnectMarker {
      words.append(SystemPath(word: "--reconnect-marker=", number: UInt64(reconnectMarker)))
    }
    return words + [SystemPath(word: "", number: UInt64(stubdomain)), channel.path]
  }

  private func become(_ program: SystemPath) throws(ToolError) -> ExitStatus {
    do throws(SystemError) {
      try Program.become(program, [program] + libxls(withStatePath: true) + [socket.path])
    } catch {
      throw ToolError(error, program)
    }
    return .good
  }
}

/// What is where on this machine.
struct ProxyPlace: ParsableArguments {
  @Option(
    help: ArgumentHelp(
      "libxl's own vchan-socket-proxy. (default: where Xen is installed)", valueName: "program"))
  var program: PathArgument?

  @Option(help: ArgumentHelp("Where libxl has its state files.", valueName: "directory"))
  var states = PathArgument(path: SystemPath(word: "/var/lib/xen"))

  @Option(help: ArgumentHelp("For xenstore: \(XenstoreOptions.words)", valueName: "socket"))
  var xenstore: PathArgument?
}

/// What a proxy is told by whoever puts it into its place.
struct ProxySettings: ParsableArguments {
  private static let defaultTimeoutMilliseconds: UInt64 = 60_000

  @Option(help: ArgumentHelp("Most bytes of state.", valueName: "size"))
  var maxState = ByteCount(bytes: ReaderLimits.defaultStateBytes)

  @Option(
    help: ArgumentHelp(
      "Most bytes of all save disks on this machine together.", valueName: "size"))
  var maxDisks = ByteCount(bytes: DiskClaim.defaultMaxSumBytes)

  @Option(
    help: ArgumentHelp(
      """
      Most bytes of each file in dom0 that a stubdomain's consoles are written to, at least 2MiB; 0 is no \
      limit.
      """,
      valueName: "size"))
  var maxConsole = ByteCount(bytes: QMPProxyOptions.defaultMaxConsoleBytes)

  @Option(
    help: ArgumentHelp(
      "How long the agent and QEMU may take, before they are given up; at most 3600.",
      valueName: "seconds"))
  var timeout = Seconds(milliseconds: defaultTimeoutMilliseconds)

  @OptionGroup var trailer: TrailerOptions

  @Flag(help: "Restore also what was saved by a QEMU with other devices.")
  var anyDevices = false

  @Flag(
    help: """
      Do not ask QEMU whether it has devices that it cannot save. It may end while it saves, or write \
      what no QEMU loads.
      """)
  var ignoreBlockers = false

  @OptionGroup var sandbox: SandboxOptions

  func validate() throws {
    guard maxState.bytes > 0 && maxState.bytes <= 1 << 61 else {
      throw ValidationError("--max-state must be more than 0 and at most 2^61.")
    }
  }

  /// As options of `qmp-proxy`; what is the default is left out.
  var words: [String] {
    var words: [String] = []
    for (name, value, other) in [
      ("--max-state", maxState.bytes, ReaderLimits.defaultStateBytes),
      ("--max-disks", maxDisks.bytes, DiskClaim.defaultMaxSumBytes),
      ("--max-console", maxConsole.bytes, QMPProxyOptions.defaultMaxConsoleBytes),
    ] where value != other {
      words += [name, "\(value)"]
    }
    if timeout.milliseconds != Self.defaultTimeoutMilliseconds {
      words += ["--timeout", timeout.defaultValueDescription]
    }
    if trailer.acceptUnverified { words.append("--accept-unverified") }
    if anyDevices { words.append("--any-devices") }
    if ignoreBlockers { words.append("--ignore-blockers") }
    if sandbox.requireSandbox { words.append("--require-sandbox") }
    if sandbox.allowWeakSandbox { words.append("--allow-weak-sandbox") }
    return words
  }
}
