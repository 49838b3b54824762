import ArgumentParser
import SaveDisk
import SystemIO
import Toolstack
import Transfer

struct VerifyCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "verify",
    abstract: "Judge save disks, state files, and save files of toolstacks.",
    discussion: """
      One line for each path on standard output; all are judged, and the exit code is that of the \
      first that is not good. A state file is judged by its trailer, an xl or libvirt save file, a \
      libxl stream, a record from 'wrap' or a xenopsd suspend image by its framing and the trailer of \
      QEMU's state. A state without a trailer is unverified, not good: nothing says whether it is \
      the one that was saved. So is a save file without a state if bytes follow its end.
      """)

  @Argument(
    help: ArgumentHelp("Disks, states or save files; - is standard input.", valueName: "path"))
  var paths: [PathArgument] = []

  @Flag(
    name: .customLong("no-decode"),
    help: "Check structure and stored hashes only; no decompressor is run.")
  var isNotDecoding = false

  @Flag(help: "What is unverified is incomplete, exit code 3.")
  var requireTrailer = false

  @Option(
    help: ArgumentHelp(
      "Judge every fixture of DIRECTORY/manifest.json, and write the good ones again.",
      valueName: "directory"))
  var replay: PathArgument?

  @OptionGroup var judging: JudgingOptions
  @OptionGroup var telling: ProgressOptions
  @OptionGroup var output: OutputOptions

  func validate() throws {
    guard paths.isEmpty != (replay == nil) else {
      throw ValidationError("Give either paths or --replay.")
    }
    guard replay == nil || !isNotDecoding else {
      throw ValidationError("--replay decodes; it does not go with --no-decode.")
    }
  }

  func run() throws {
    judging.applySandbox()
    try Console.run(json: output.json) { () throws(ToolError) -> ExitStatus in
      if let replay { return try ReplayReport.run(replay.path, json: output.json) }
      return try verify()
    }
  }

  /// - Returns: the status of the first path that is not good.
  private func verify() throws(ToolError) -> ExitStatus {
    var status = ExitStatus.good
    let tells = try telling.check(inputs: paths.map(\.path), outputs: [])
    for path in paths.map(\.path) {
      let progress = tells ? telling.make(forDisk: path) : nil
      let finding = DiskCommands.verify(
        path, options: judging.readOptions(isDecoding: !isNotDecoding),
        spoolDirectory: SpoolDirectory.path, requiresTrailer: requireTrailer, progress: progress)
      progress?.finish(isComplete: finding.status == .good)
      try say(finding)
      if finding.status != .good {
        Console.complain(finding.complaint)
        if status == .good { status = finding.status }
      }
    }
    return status
  }

  private func say(_ finding: Finding) throws(ToolError) {
    switch (finding, output.json) {
    case (.disk(let judgement), true): try Console.say(json: VerdictReport(judgement))
    case (.disk(let judgement), false): try Console.say(judgement.line)
    case (.saveFile(let judgement), true): try Console.say(json: SaveFileReport(judgement))
    case (.saveFile(let judgement), false): try Console.say(judgement.line)
    }
  }
}
