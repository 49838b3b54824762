import ArgumentParser
import SaveDisk
import SystemIO
import Toolstack
import Transfer

struct InspectCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "inspect",
    abstract: "Show a save disk's header, streams and records, as far as they are right.")

  @Argument(help: ArgumentHelp("The disk; - is standard input.", valueName: "path"))
  var path: PathArgument

  @OptionGroup var judging: JudgingOptions
  @OptionGroup var output: OutputOptions

  func run() throws {
    try Console.run(json: output.json) { () throws(ToolError) -> ExitStatus in
      let (judgement, records) = try DiskCommands.inspect(
        path.path, options: judging.readOptions(isDecoding: true))
      if output.json {
        try Console.say(json: InspectReport(judgement, records))
      } else {
        for line in InspectText.lines(judgement, records) { try Console.say(line) }
      }
      if judgement.status != .good { Console.complain(judgement.complaint) }
      return judgement.status
    }
  }
}
