import ArgumentParser
import SaveDisk
import SystemIO
import Toolstack
import Transfer

struct ExtractCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "extract",
    abstract: "Take QEMU's state out of a toolstack's save file.",
    discussion: """
      Of an xl or libvirt save file, a libxl stream, a record from 'wrap' or a xenopsd suspend image, \
      once all of it has been judged; with the state's trailer, if it has one, and without what \
      follows that. The guest's memory is passed over. \
      Exit code 14 if the file is good but holds no state.
      """)

  @Argument(help: ArgumentHelp("The save file; - is standard input.", valueName: "file"))
  var file: PathArgument

  @Option(
    name: .shortAndLong,
    help: ArgumentHelp("Where the state goes; - is standard output.", valueName: "file"))
  var output: PathArgument?

  @OptionGroup var judging: JudgingOptions
  @Flag(help: "Refuse a state without a trailer, exit code 3.")
  var requireTrailer = false
  @Flag(help: "Replace a file that exists.")
  var force = false
  @OptionGroup var report: OutputOptions

  func run() throws {
    judging.applySandbox()
    try Console.run(json: report.json) { () throws(ToolError) -> ExitStatus in
      let target = try StateTarget.path(output?.path, json: report.json)
      let judgement = try DiskCommands.extract(
        file.path, output: target, spoolDirectory: SpoolDirectory.path,
        options: judging.readOptions(isDecoding: true), requiresTrailer: requireTrailer,
        isForced: force)
      if judgement.isUnverified { Console.warn(file.path, .unverified) }
      if let remark = judgement.remark { Console.warn(file.path, remark) }
      if report.json { try Console.say(json: ExtractReport(path: target.text, judgement)) }
      return .good
    }
  }
}

struct ExtractReport: Encodable {
  let type = "extracted"
  /// The file that has been written.
  let path: String
  /// "good", or "unverified" if the state has no trailer.
  let verdict: String
  let state: SaveFileReport.State?

  init(path: String, _ judgement: SaveFileJudgement) {
    self.path = path
    verdict = judgement.word
    state = judgement.state.map(SaveFileReport.State.init)
  }

  enum CodingKeys: CodingKey { case type, path, verdict, state }
}

struct WrapCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "wrap",
    abstract: "Put a state into an EMULATOR_CONTEXT record of a libxl stream.",
    discussion: """
      The record is for QEMU upstream, index 0. A state's trailer is judged first, and goes into the \
      record with it, without what follows it: QEMU does not look at it.
      """)

  @Argument(
    help: ArgumentHelp(
      "The state, with or without trailer; - is standard input.", valueName: "state"))
  var state: PathArgument

  @Option(
    name: .shortAndLong,
    help: ArgumentHelp("Where the record goes; - is standard output.", valueName: "file"))
  var output: PathArgument?

  @OptionGroup var judging: JudgingOptions
  @Flag(help: "Refuse a state without a trailer, exit code 3.")
  var requireTrailer = false
  @Flag(help: "Replace a file that exists.")
  var force = false
  @OptionGroup var report: OutputOptions

  func run() throws {
    judging.applySandbox()
    try Console.run(json: report.json) { () throws(ToolError) -> ExitStatus in
      let target = try StateTarget.path(output?.path, json: report.json)
      let wrapped = try DiskCommands.wrap(
        state.path, output: target, spoolDirectory: SpoolDirectory.path,
        options: judging.readOptions(isDecoding: true), requiresTrailer: requireTrailer,
        isForced: force)
      for warning in wrapped.warnings { Console.warn(state.path, warning) }
      if report.json { try Console.say(json: WrapReport(path: target.text, wrapped)) }
      return .good
    }
  }
}

struct WrapReport: Encodable {
  let type = "wrapped"
  let path: String
  /// "good", or "unverified" if the state has no trailer.
  let verdict: String
  /// Of the state, its trailer with it.
  let stateBytes: UInt64
  let recordBytes: UInt64

  init(path: String, _ wrapped: DiskCommands.Wrapped) {
    self.path = path
    verdict = wrapped.isVerified ? "good" : "unverified"
    stateBytes = wrapped.stateBytes
    recordBytes = wrapped.recordBytes
  }

  enum CodingKeys: CodingKey { case type, path, verdict, stateBytes, recordBytes }
}
