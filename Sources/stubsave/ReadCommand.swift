import ArgumentParser
import SaveDisk
import SystemIO
import Toolstack
import Transfer

struct ReadCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "read",
    abstract: "Read a state from a save disk, after all of it has been verified.",
    discussion: """
      A file given with -o appears only when it is complete. Standard output gets nothing before \
      everything has been verified; larger states wait in an unlinked file in $TMPDIR or /var/tmp.
      """)

  @Argument(help: ArgumentHelp("The disk; - is standard input.", valueName: "disk"))
  var disk: PathArgument

  @Option(
    name: .shortAndLong,
    help: ArgumentHelp("Where the state goes; - is standard output.", valueName: "file"))
  var output: PathArgument?

  @Option(help: ArgumentHelp("Which stream.", valueName: "name"))
  var stream = StreamName.qemu

  @OptionGroup var judging: JudgingOptions
  @Flag(help: "Replace a file that exists.")
  var force = false
  @OptionGroup var telling: ProgressOptions
  @OptionGroup var report: OutputOptions

  func run() throws {
    judging.applySandbox()
    try Self.run(
      disk.path, stream: stream, output: output?.path,
      options: judging.readOptions(isDecoding: true), isForced: force, json: report.json,
      telling: telling)
  }

  /// - Parameter output: nil is standard output, unless that is a terminal.
  static func run(
    _ disk: SystemPath, stream: StreamName, output: SystemPath?, options: ReadOptions,
    isForced: Bool, json: Bool, telling: ProgressOptions? = nil
  ) throws {
    try Console.run(json: json) { () throws(ToolError) -> ExitStatus in
      let target = try StateTarget.path(output, json: json)
      let tells = try telling?.check(inputs: [disk], outputs: [target]) == true
      let progress = tells ? telling?.make(forDisk: disk) : nil
      var isComplete = false
      defer { progress?.finish(isComplete: isComplete) }
      let verdict = try DiskCommands.read(
        disk, stream: stream, output: target, spoolDirectory: SpoolDirectory.path,
        options: options, isForced: isForced, progress: progress)
      isComplete = true
      if json, let summary = verdict.facts.summary(of: stream) {
        try Console.say(json: ReadReport(path: target.text, summary))
      }
      return .good
    }
  }
}

struct ReadReport: Encodable {
  let type = "read"
  /// The file that has been written.
  let path: String
  private let stream: StreamReport

  init(path: String, _ summary: StreamSummary) {
    self.path = path
    stream = StreamReport(summary)
  }

  private enum CodingKeys: CodingKey { case type, path }

  func encode(to encoder: any Encoder) throws {
    try stream.encode(to: encoder)
    var container = encoder.container(keyedBy: CodingKeys.self)
    try container.encode(type, forKey: .type)
    try container.encode(path, forKey: .path)
  }
}
