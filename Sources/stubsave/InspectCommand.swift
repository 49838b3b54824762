import ArgumentParser
import SaveDisk
import SystemIO
import Toolstack
import Transfer

struct InspectCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "inspect",
    abstract: "Show a save disk's header, streams and records, as far as they are right.",
    discussion: """
      Of a state file, such as 'dump' makes, it shows the trailer and the sections. QEMU's states \
      do not say where a section ends: the list is by their look, for people only.
      """)

  @Argument(
    help: ArgumentHelp("The disk, or a state file; - is standard input.", valueName: "path"))
  var path: PathArgument

  @OptionGroup var judging: JudgingOptions
  @OptionGroup var output: OutputOptions

  func run() throws {
    judging.sandbox.apply()
    try Console.run(json: output.json) { () throws(ToolError) -> ExitStatus in
      if DiskCommands.isStateFile(path.path) { return try inspectState() }
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

  private func inspectState() throws(ToolError) -> ExitStatus {
    let inspection = try DiskCommands.inspectState(
      path.path, options: judging.readOptions(isDecoding: true), spoolDirectory: SpoolDirectory.path
    )
    if output.json {
      try Console.say(json: StateReport(inspection))
    } else {
      for line in StateReport(inspection).lines { try Console.say(line) }
    }
    guard let failure = inspection.failure else { return .good }
    let error = ToolError(.disk(failure), path.path)
    Console.complain(error.text)
    return error.status
  }
}
