import ArgumentParser
import QEMUState
import SaveDisk
import SaveFiles
import SystemIO
import Toolstack
import Transfer

struct InspectCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "inspect",
    abstract: "Show a save disk's header, streams and records, as far as they are right.",
    discussion: """
      Of a state file, such as 'dump' makes, it shows the trailer and the sections: as QEMU's footers \
      say, or, as Xen's QEMU writes none, by their look. It says which; the list is for people only. \
      A whole migration stream is named, and its sections are listed too.

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
    judging.applySandbox()
    try Console.run(json: output.json) { () throws(ToolError) -> ExitStatus in
      let (finding, records) = try DiskCommands.inspect(
        path.path, options: judging.readOptions(isDecoding: true),
        spoolDirectory: SpoolDirectory.path)
      try say(finding, records)
      if finding.status != .good { Console.complain(finding.complaint) }
      return finding.status
    }
  }

  private func say(_ finding: Finding, _ records: [RecordEntry]) throws(ToolError) {
    if case .saveFile(let judgement) = finding, judgement.facts.format == .state,
      let state = judgement.state
    {
      return try say(StateReport(judgement, state))
    }
    switch (finding, output.json) {
    case (.disk(let judgement), true): try Console.say(json: InspectReport(judgement, records))
    case (.disk(let judgement), false):
      for line in InspectText.lines(judgement, records) { try Console.say(line) }
    case (.saveFile(let judgement), true): try Console.say(json: SaveFileInspection(judgement))
    case (.saveFile(let judgement), false):
      for line in SaveFileText.lines(judgement) { try Console.say(line) }
    }
  }

  private func say(_ report: StateReport) throws(ToolError) {
    if output.json { return try Console.say(json: report) }
    for line in report.lines { try Console.say(line) }
  }
}
