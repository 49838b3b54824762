import ArgumentParser
import SaveDisk
import SystemIO
import Toolstack
import Transfer

/// Of `qmp-proxy`, and for whoever wants a log served again whose process was killed.
struct ConsoleLogCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "console-log",
    abstract: "Write a stubdomain's log in the place of the QEMU that libxl starts for it.",
    discussion: """
      'stubsave qmp-proxy' starts it, before that QEMU, where that is one with the console code of \
      QEMU 9 and later. It ends with the stubdomain. The log is the file that libxl means; its older \
      half is beside it, and ends in .older.
      """)

  @OptionGroup var xenstore: XenstoreOptions

  @Option(
    help: ArgumentHelp(
      "Most bytes of the log, both halves together; 0 is no limit.", valueName: "size"))
  var maxConsole = ByteCount(bytes: QMPProxyOptions.defaultMaxConsoleBytes)

  @Argument(help: ArgumentHelp("The stubdomain.", valueName: "domid"))
  var stubdomain: UInt32

  func run() throws {
    SignalsAsErrors.ofPipes()
    try Console.run(json: false) { () throws(ToolError) -> ExitStatus in
      try ConsoleService.run(
        ConsoleLogOptions(
          stubdomain: stubdomain, xenstore: xenstore.path, maxBytes: maxConsole.bytes)
      ) { Console.complain($0) }
      return .good
    }
  }
}
