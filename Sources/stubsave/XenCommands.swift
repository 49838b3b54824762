import ArgumentParser
import Rendezvous
import SaveDisk
import SystemIO
import Toolstack
import Transfer
import Xen

/// Options of the commands that talk to xenstored alone.
struct XenstoreOptions: ParsableArguments {
  static let words = """
    the socket of dom0's xenstored. (default: /run/xenstored/socket, or the device /dev/xen/xenbus \
    where that is not there)
    """

  @Option(help: ArgumentHelp("For xenstore: \(words)", valueName: "socket"))
  var xenstore: PathArgument?

  var path: SystemPath { xenstore?.path ?? StubdomainPlace.usualXenstore }
}

struct ListCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "list",
    abstract: "List the stubdomains, a line each.",
    discussion: """
      The agent's column is what the stubdomain says of itself. A disk with ! and an offer with ! \
      are left over from a command that was killed; 'gc' takes them away. A stubdomain that does not \
      run is paused, suspended or ended there. A guest whose proxy was killed has lost!: 'proxy adopt' \
      starts another.
      """)

  @OptionGroup var xenstore: XenstoreOptions
  @OptionGroup var output: OutputOptions

  func run() throws {
    try Console.run(json: output.json) { () throws(ToolError) -> ExitStatus in
      let found = try Listing.run(xenstore.path)
      if output.json {
        try Console.say(json: ListReport(stubdomains: found.map(StubdomainReport.init)))
        return .good
      }
      for line in ListText.lines(found) { try Console.say(line) }
      return .good
    }
  }
}

struct GCCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "gc",
    abstract: "Take away what commands have left that were killed.",
    discussion: """
      Disks, offers, marks of devices, and a guest that was paused for a dump; nothing that a \
      command is at work with, and no disk that was attached by 'attach' to a domain that lives. \
      Says a line for each.
      """)

  @OptionGroup var xenstore: XenstoreOptions
  @OptionGroup var output: OutputOptions

  func run() throws {
    try Console.run(json: output.json) { () throws(ToolError) -> ExitStatus in
      let said = try Collecting.run(xenstore.path, waits: true)
      if output.json {
        try Console.say(json: CollectedReport(collected: said.map(\.text)))
      } else {
        for line in said { try Console.say(line.text) }
      }
      return .good
    }
  }
}

struct AttachCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "attach",
    abstract: "Attach a save disk to a stubdomain, and print its name there.",
    discussion: """
      The disk stays until 'detach', or until the domain has ended and 'gc' is run. While it is \
      there, 'dump' and 'restore' use it with --disk and --attached. A disk that was allocated \
      for restoring is attached read-only.
      """)

  @Argument(help: "Domid or name of the guest, or of the stubdomain that has its QEMU.")
  var domain: DomainArgument

  @Argument(help: "A save disk: a plain file or a block device.")
  var disk: PathArgument

  @Flag(help: "The stubdomain cannot write to it.")
  var readOnly = false

  @OptionGroup var xenstore: XenstoreOptions
  @OptionGroup var output: OutputOptions

  func run() throws {
    try Console.run(json: output.json) { () throws(ToolError) -> ExitStatus in
      var place = StubdomainPlace(domain.reference)
      place.xenstore = xenstore.path
      let attached = try Attaching.attach(disk.path, to: place, isReadOnly: readOnly)
      for warning in attached.warnings { Console.warn(place.name, warning) }
      let text = String(decoding: attached.name, as: UTF8.self)
      if output.json {
        try Console.say(json: AttachedReport(path: disk.path.text, device: text))
      } else {
        try Console.say(text)
      }
      return .good
    }
  }
}

struct DetachCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "detach",
    abstract: "Take a save disk away from a stubdomain.",
    discussion: """
      The stubdomain is asked to let go of it; if it does not in time, the disk is taken away all \
      the same, and a warning says so. A block device keeps what the stubdomain has written, and \
      dom0's tools may look into it from now on: 'allocate --force' makes it zeros.
      """)

  @Argument(help: "Domid or name of the guest, or of the stubdomain that has its QEMU.")
  var domain: DomainArgument

  @Argument(help: ArgumentHelp("The disk's name there, such as xvdz.", valueName: "device"))
  var device: DeviceArgument

  @Option(help: ArgumentHelp("How long the stubdomain may take.", valueName: "seconds"))
  var timeout = Seconds(milliseconds: 10_000)

  @OptionGroup var xenstore: XenstoreOptions
  @OptionGroup var output: OutputOptions

  func run() throws {
    try Console.run(json: output.json) { () throws(ToolError) -> ExitStatus in
      var place = StubdomainPlace(domain.reference)
      place.xenstore = xenstore.path
      let detached = try Attaching.detach(
        device.name.bytes, from: place, timeoutMilliseconds: timeout.milliseconds)
      for warning in detached.warnings { Console.warn(place.name, warning) }
      if !detached.isClosed {
        var text = PlainText()
        text.append("the stubdomain did not let go of the disk; it was taken away")
        Console.warn(place.name, text)
      }
      if output.json { try Console.say(json: DetachedReport(isClosed: detached.isClosed)) }
      return .good
    }
  }
}

struct AttachedReport: Encodable {
  let type = "attached"
  let path: String
  let device: String
  enum CodingKeys: CodingKey { case type, path, device }
}

struct DetachedReport: Encodable {
  let type = "detached"
  /// Whether the stubdomain had let go of it.
  let isClosed: Bool
  enum CodingKeys: CodingKey { case type, isClosed }
}

struct CollectedReport: Encodable {
  let type = "collected"
  let collected: [String]
  enum CodingKeys: CodingKey { case type, collected }
}
