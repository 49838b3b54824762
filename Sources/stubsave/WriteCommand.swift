import ArgumentParser
import Codecs
import SaveDisk
import SystemIO
import Toolstack
import Transfer

struct WriteCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "write",
    abstract: "Write a state from standard input to a save disk.",
    discussion: """
      A file that does not exist, or is empty, becomes an archive: it ends with the commit. A disk \
      from 'allocate' that holds no log yet is written with the header it has. Anything else is \
      refused unless --force is given.
      """)

  @Argument(help: ArgumentHelp("The file or the allocated disk.", valueName: "disk"))
  var disk: PathArgument

  @OptionGroup var coding: CodecOptions

  @Option(help: ArgumentHelp("Most bytes of state that are taken.", valueName: "size"))
  var maxState = ByteCount(bytes: ReaderLimits.defaultStateBytes)

  @OptionGroup var newHeader: NewHeaderOptions
  @Flag(help: "Replace a file that exists; it stays until the new one is complete.")
  var force = false
  @OptionGroup var telling: ProgressOptions
  @OptionGroup var output: OutputOptions

  func run() throws {
    var options = WriteOptions()
    options.setting = coding.setting
    options.maxStateBytes = maxState.bytes
    options.isForced = force
    options.header.maxRawBytes = maxState.bytes
    options.header.chunkBytes = UInt32(newHeader.chunkSize.bytes)
    options.workers = coding.workers(chunkBytes: Int(newHeader.chunkSize.bytes))
    try Self.run(disk.path, options, json: output.json, telling: telling)
  }

  static func run(
    _ disk: SystemPath, _ options: WriteOptions, json: Bool, telling: ProgressOptions? = nil
  ) throws {
    try Console.run(json: json) { () throws(ToolError) -> ExitStatus in
      if FileDescriptor.standardInput.isTerminal {
        throw ToolError(.usage, nil) {
          $0.append("the state comes on standard input, which is a terminal")
        }
      }
      let tells = try telling?.check(inputs: [], outputs: [disk]) == true
      var options = options
      if tells { options.progress = telling?.make(for: FileDescriptor.standardInput) }
      defer { options.progress?.finish() }
      let written = try DiskCommands.write(disk, from: .standardInput, options: options)
      if json { try Console.say(json: WriteReport(disk, written)) }
      return .good
    }
  }
}

struct WriteReport: Encodable {
  let type = "written"
  let path: String
  let rawBytes: UInt64
  let storedBytes: UInt64
  let diskBytes: UInt64

  init(_ path: SystemPath, _ written: WrittenDisk) {
    self.path = path.text
    rawBytes = written.rawBytes
    storedBytes = written.storedBytes
    diskBytes = written.diskBytes
  }

  enum CodingKeys: CodingKey { case type, path, rawBytes, storedBytes, diskBytes }
}
