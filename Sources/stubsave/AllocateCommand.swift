import ArgumentParser
import SaveDisk
import Toolstack
import Transfer

struct AllocateCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "allocate",
    abstract: "Make an empty save disk of fixed size in a plain file or on a block device.",
    discussion: """
      The disk is all zeros but for its header. A new file has its space reserved, and is 0600. A \
      device is refused while it is mounted or in use; if it holds a file system or other data, \
      --force overwrites them.
      """)

  @Argument(help: ArgumentHelp("A file that does not exist, or a block device.", valueName: "disk"))
  var disk: PathArgument

  @Option(
    help: ArgumentHelp(
      "Its size, a multiple of 4KiB, at least 8KiB. (default: 4MiB, or all of a device)",
      valueName: "size"))
  var size: ByteCount?

  @Option(help: "save: from the stubdomain to dom0; restore: the other way.")
  var direction = Direction.save

  @Option(help: ArgumentHelp("Most raw bytes that a writer may put in.", valueName: "size"))
  var maxState = ByteCount(bytes: ReaderLimits.defaultStateBytes)

  @OptionGroup var newHeader: NewHeaderOptions
  @Flag(help: "Replace a file that exists, overwrite what a device holds.")
  var force = false
  @OptionGroup var output: OutputOptions

  func validate() throws {
    // 0 in a header states no limit.
    guard maxState.bytes > 0 else { throw ValidationError("--max-state must be more than 0.") }
  }

  func run() throws {
    try Console.run(json: output.json) { () throws(ToolError) -> ExitStatus in
      var options = HeaderOptions()
      options.direction = direction
      options.maxRawBytes = maxState.bytes
      options.chunkBytes = UInt32(newHeader.chunkSize.bytes)
      let allocated = try DiskCommands.allocate(
        disk.path, capacityBytes: size?.bytes, options: options, isReplacing: force)
      if output.json {
        try Console.say(
          json: AllocateReport(path: disk.path.text, header: HeaderReport(allocated.header)))
      }
      return .good
    }
  }
}

struct AllocateReport: Encodable {
  let type = "allocated"
  let path: String
  let header: HeaderReport

  enum CodingKeys: CodingKey { case type, path, header }
}
