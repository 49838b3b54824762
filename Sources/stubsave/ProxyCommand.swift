import ArgumentParser
import SaveDisk
import SystemIO
import Toolstack
import Transfer

struct ProxyCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "proxy",
    abstract: "Look after the programs between libxl and the QEMUs of stubdomains.",
    subcommands: [ProxyAdopt.self])
}

struct ProxyAdopt: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "adopt",
    abstract: "Start a proxy for a guest that runs, in the place of one that was killed.",
    discussion: """
      It is what libxl would start: the script that 'stubsave hooks install xl' has put into its place, with the \
      options there. The guest does not notice, and can be saved again; one that libxl had stopped when the \
      proxy was killed goes on. The proxy runs in the background, writes to the log of the one before, and \
      ends with its stubdomain. 'stubsave list' shows guests without one (lost!).
      """)

  @Argument(help: "Domid or name of the guest, or of the stubdomain that has its QEMU.")
  var domain: DomainArgument

  @Option(
    help: ArgumentHelp(
      "What to start. (default: what stands in libxl's place)", valueName: "program"))
  var hook: PathArgument?

  @Option(
    help: ArgumentHelp(
      "Where libxl connects to. (default: /run/xen/qmp-libxl-DOMID)", valueName: "path"))
  var socket: PathArgument?

  @Option(
    help: ArgumentHelp(
      "Where the proxy writes to. (default: /var/log/xen/qmp-proxy-NAME.log)", valueName: "file"))
  var log: PathArgument?

  @Option(help: ArgumentHelp("How long it may take to run; at most 3600.", valueName: "seconds"))
  var timeout = Seconds(milliseconds: 60_000)

  @Flag(help: "Become the proxy: for a unit that watches over this process.")
  var foreground = false

  @OptionGroup var xenstore: XenstoreOptions
  @OptionGroup var output: OutputOptions

  func run() throws {
    try Console.run(json: output.json) { () throws(ToolError) -> ExitStatus in
      var place = StubdomainPlace(domain.reference)
      place.xenstore = xenstore.path
      var options = AdoptionOptions(place)
      options.hook = hook?.path
      options.socket = socket?.path
      options.log = log?.path
      options.timeoutMilliseconds = timeout.milliseconds
      if foreground {
        try ProxyAdoption.become(options)
        return .good
      }
      let process = try ProxyAdoption.run(options)
      if output.json { try Console.say(json: AdoptedReport(process: process)) }
      return .good
    }
  }
}

struct AdoptedReport: Encodable {
  let type = "adopted"
  let process: Int32
  enum CodingKeys: CodingKey { case type, process }
}
