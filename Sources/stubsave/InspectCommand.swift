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

      Of an xl or libvirt save file, a libxl stream or a xenopsd suspend image it shows headers \
      and records, and where QEMU's state is, with its trailer and sections.
      """)

  @Argument(
    help: ArgumentHelp(
      "The disk, a state file or a save file; - is standard input.", valueName: "path"))
  var path: PathArgument

  @OptionGroup var judging: JudgingOptions
  @OptionGroup var output: OutputOptions

  func run() throws {
    judging.sandbox.apply()
    try Console.run(json: output.json) { () throws(ToolError) -> ExitStatus in
      if DiskCommands.isStateFile(path.path) { return try inspectState() }
      let (finding, records) = try DiskCommands.inspect(
        path.path, options: judging.readOptions(isDecoding: true),
        spoolDirectory: SpoolDirectory.path)
      try say(finding, records)
      if finding.status != .good { Console.complain(finding.complaint) }
      return finding.status
    }
  }

  private func say(_ finding: Finding, _ records: [RecordEntry]) throws(ToolError) {
    switch (finding, output.json) {
    case (.disk(let judgement), true): try Console.say(json: InspectReport(judgement, records))
    case (.disk(let judgement), false):
      for line in InspectText.lines(judgement, records) { try Console.say(line) }
    case (.saveFile(let judgement), true): try Console.say(json: SaveFileInspection(judgement))
    case (.saveFile(let judgement), false):
      for line in SaveFileText.lines(judgement) { try Console.say(line) }
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
