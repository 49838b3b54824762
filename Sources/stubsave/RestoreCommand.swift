import ArgumentParser
import Codecs
import SaveDisk
import SystemIO
import Toolstack
import Transfer

struct RestoreCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "restore",
    abstract: "Give a QEMU the device state from a file, over a save disk.",
    discussion: """
      QEMU must have been started with -incoming defer and the devices of the one that was saved. \
      It gets nothing before everything has been verified, and has loaded the state when the \
      command ends; without -S its guest runs then. Without --disk a loop device over memory is \
      used, which needs root.
      """)

  @Option(
    name: .shortAndLong,
    help: ArgumentHelp("A file from 'dump'; - is standard input.", valueName: "file"))
  var input: PathArgument?

  @OptionGroup var trailer: TrailerOptions

  @Flag(help: "Restore a state of a QEMU with other devices all the same.")
  var force = false

  @Option(
    help: ArgumentHelp(
      "Codecs whose decoder may be run on it, of lz4, zlib and zstd; none runs no decompressor.",
      valueName: "list"))
  var codecs = CodecList(set: .dom0)

  @OptionGroup var transfer: TransferOptions
  @OptionGroup var report: OutputOptions

  func run() throws {
    SignalsAsErrors.ofPipes()
    transfer.sandbox.apply(timeoutMilliseconds: transfer.timeout.milliseconds)
    try Console.run(json: report.json) { () throws(ToolError) -> ExitStatus in
      if input == nil && FileDescriptor.standardInput.isTerminal {
        throw ToolError(.usage, nil) {
          $0.append("the state comes on standard input, which is a terminal; -i FILE names one")
        }
      }
      let source = input?.path ?? SystemPath(word: "-")
      var options = RestoreOptions(try transfer.settings(), input: source)
      options.requiresTrailer = !trailer.acceptUnverified
      options.isForced = force
      options.acceptedCodecs = codecs.set
      let restored = try Restore.run(options) { Console.warn(source, $0) }
      for warning in restored.warnings { Console.warn(source, warning) }
      if report.json { try Console.say(json: TransferJSON(source, restored)) }
      return .good
    }
  }
}
