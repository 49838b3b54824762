import ArgumentParser
import Rendezvous
import SaveDisk
import SystemIO
import Toolstack
import Transfer

struct DumpCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "dump",
    abstract: "Take a QEMU's device state, over a save disk, to a file.",
    discussion: """
      The guest must be stopped, or is stopped with --pause. RAM and disks are not part of the \
      state. The file appears only when everything has been verified; it is QEMU's state with a \
      trailer by which 'restore' checks it, and QEMU itself loads it as it is. Without --disk a \
      loop device over memory is used, which needs root.
      """)

  @Option(
    name: .shortAndLong,
    help: ArgumentHelp("Where the state goes; - is standard output.", valueName: "file"))
  var output: PathArgument?

  @Flag(help: "Stop a running guest; it goes on as soon as its state is taken.")
  var pause = false

  @Flag(help: "With --pause: the guest stays stopped, unless something fails.")
  var keepPaused = false

  @Flag(
    help: """
      Do not ask QEMU whether it has devices that it cannot save. It may end while it saves, or write \
      what no QEMU loads.
      """)
  var ignoreBlockers = false

  @Option(
    help: """
      state has a trailer, raw is QEMU's bytes alone, which 'restore' takes with --accept-unverified \
      only, archive is the save disk, for which no decompressor is run.
      """)
  var format = StateFormat.state

  @OptionGroup var transfer: TransferOptions
  @Flag(help: "Replace a file that exists; it stays until the new one is complete.")
  var force = false
  @OptionGroup var report: OutputOptions

  func validate() throws {
    guard pause || !keepPaused else { throw ValidationError("--keep-paused needs --pause.") }
  }

  func run() throws {
    SignalsAsErrors.ofPipes()
    transfer.sandbox.apply(timeoutMilliseconds: transfer.timeout.milliseconds)
    try Console.run(json: report.json) { () throws(ToolError) -> ExitStatus in
      let target = try StateTarget.path(output?.path, json: report.json)
      var options = DumpOptions(try transfer.settings(), output: target)
      options.format = format
      options.isForced = force
      options.pauses = pause
      options.keepsPaused = keepPaused
      options.transfer.blockers = ignoreBlockers ? .ignore : .heed
      let dumped = try Dump.run(options)
      for warning in dumped.warnings { Console.warn(options.transfer.place.name, warning) }
      if report.json { try Console.say(json: TransferJSON(target, format, dumped)) }
      return .good
    }
  }
}

/// What `dump` and `restore` report.
struct TransferJSON: Encodable {
  let type: String
  let path: String
  let format: String
  let stateBytes: UInt64
  let diskBytes: UInt64
  /// Of the state's bytes.
  let xxh128: String
  let metadata: [String]
  let warnings: [String]

  init(_ path: SystemPath, _ format: StateFormat, _ report: DumpReport) {
    type = "dumped"
    self.path = path.text
    self.format = format.text
    stateBytes = report.stateBytes
    diskBytes = report.diskBytes
    xxh128 = report.digest.hexText
    metadata = MetadataText.lines(report.metadata)
    warnings = report.warnings.map(\.text)
  }

  init(_ path: SystemPath, _ report: RestoreReport) {
    type = "restored"
    self.path = path.text
    format = report.format.text
    stateBytes = report.stateBytes
    diskBytes = report.diskBytes
    xxh128 = report.digest.hexText
    metadata = MetadataText.lines(report.metadata)
    warnings = report.warnings.map(\.text)
  }
}

/// The stream `metadata` for people: lines of printable ASCII.
enum MetadataText {
  static func lines(_ bytes: [UInt8]) -> [String] {
    bytes.split(separator: UInt8(ascii: "\n")).map { line in
      var text = PlainText()
      text.append(escaping: line, maxBytes: 256)
      return text.text
    }
  }
}
