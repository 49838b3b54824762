import ArgumentParser
import Codecs
import Rendezvous
import SaveDisk
import SystemIO
import Toolstack
import Transfer
import Xen

/// Options of the commands that carry a state between a QEMU and a file.
struct TransferOptions: ParsableArguments {
  @Argument(
    help: ArgumentHelp(
      "Domid or name of the guest, or of the stubdomain that has its QEMU.", valueName: "domain"))
  var domain: DomainArgument?

  @Option(
    help: ArgumentHelp(
      "The monitor (QMP) of a QEMU on this machine, a Unix socket; the agent is started beside it.",
      valueName: "socket"))
  var qmp: PathArgument?

  @Option(
    help: ArgumentHelp(
      "With --qmp: stubsave-agent, if it is not beside this program or in ../lib/stubsave.",
      valueName: "program"))
  var agent: PathArgument?

  @Option(
    help: ArgumentHelp(
      "The name that --disk has in the stubdomain, if it is attached already.",
      valueName: "device")
  )
  var attached: DeviceArgument?

  @Option(help: ArgumentHelp("With a domain: \(XenstoreOptions.words)", valueName: "socket"))
  var xenstore: PathArgument?

  @Option(
    help: ArgumentHelp(
      "With a domain: most bytes of all save disks on this machine together.", valueName: "size"))
  var maxDisks = ByteCount(bytes: DiskClaim.defaultMaxSumBytes)

  @Option(
    help: ArgumentHelp(
      "Go over this allocated disk or unused block device, not over a loop device of our own.",
      valueName: "path"))
  var disk: PathArgument?

  @Option(help: "auto is LZ4, or none where that saves less than an eighth.")
  var codec = CodecSetting.auto

  @Option(help: ArgumentHelp("Most bytes of state.", valueName: "size"))
  var maxState = ByteCount(bytes: ReaderLimits.defaultStateBytes)

  @Option(
    help: ArgumentHelp(
      "How long the agent and QEMU may take, before they are given up; at most 3600.",
      valueName: "seconds"))
  var timeout = Seconds(milliseconds: 60_000)

  @OptionGroup var newHeader: NewHeaderOptions
  @OptionGroup var sandbox: SandboxOptions

  func validate() throws {
    guard maxState.bytes > 0 && maxState.bytes <= 1 << 61 else {
      throw ValidationError("--max-state must be more than 0 and at most 2^61.")
    }
    guard (qmp == nil) != (domain == nil) else {
      throw ValidationError("Either --qmp or a domain says where the QEMU is.")
    }
    if domain == nil {
      guard attached == nil && xenstore == nil else {
        throw ValidationError("--attached and --xenstore need a domain.")
      }
    } else {
      guard agent == nil else { throw ValidationError("--agent needs --qmp.") }
      guard attached == nil || disk != nil else {
        throw ValidationError("--attached names --disk's device in the stubdomain.")
      }
    }
  }

  func settings() throws(ToolError) -> TransferSettings {
    var settings = TransferSettings(try place(), spoolDirectory: SpoolDirectory.path)
    settings.disk = disk?.path
    settings.setting = codec
    settings.header.chunkBytes = UInt32(newHeader.chunkSize.bytes)
    settings.maxStateBytes = maxState.bytes
    settings.timeoutMilliseconds = timeout.milliseconds
    return settings
  }

  private func place() throws(ToolError) -> AgentPlace {
    if let domain {
      var place = StubdomainPlace(domain.reference)
      place.attached = attached?.name
      if let xenstore { place.xenstore = xenstore.path }
      place.maxSumBytes = maxDisks.bytes
      return .stubdomain(place)
    }
    guard let qmp else { preconditionFailure("validated") }
    if let agent { return .process(agent: agent.path, monitor: qmp.path) }
    return .process(agent: try AgentProgram.find(), monitor: qmp.path)
  }
}

/// A domain other than dom0 on the command line: a number is a domid, anything else a name.
struct DomainArgument: ExpressibleByArgument {
  let reference: DomainReference

  /// DOMID_FIRST_RESERVED, the first that is no domain's (xen/include/public/xen.h).
  private static let firstReserved: UInt32 = 0x7FF0

  init?(argument: String) {
    let name = ArgumentText.decode(argument)
    if name.isEmpty { return nil }
    if !name.allSatisfy({ $0 >= UInt8(ascii: "0") && $0 <= UInt8(ascii: "9") }) {
      reference = .name(name)
      return
    }
    guard let number = UInt32(argument), number > 0, number < Self.firstReserved else {
      return nil
    }
    reference = .domid(number)
  }
}

/// A block device of a stubdomain on the command line, without /dev/.
struct DeviceArgument: ExpressibleByArgument {
  let name: DeviceName

  init?(argument: String) {
    guard let name = DeviceName([UInt8](argument.utf8)) else { return nil }
    self.name = name
  }
}

/// A time on the command line: seconds, with a fraction if need be.
struct Seconds: ExpressibleByArgument {
  let milliseconds: UInt64

  init(milliseconds: UInt64) { self.milliseconds = milliseconds }

  init?(argument: String) {
    let isPlain = argument.utf8.allSatisfy { $0 == 0x2E || ($0 >= 0x30 && $0 <= 0x39) }
    guard isPlain, let seconds = Double(argument), seconds > 0, seconds <= 3600 else {
      return nil
    }
    milliseconds = max(UInt64(seconds * 1000), 1)
  }

  var defaultValueDescription: String {
    milliseconds % 1000 == 0 ? "\(milliseconds / 1000)" : "\(Double(milliseconds) / 1000)"
  }
}

/// Where states that do not fit into memory wait.
enum SpoolDirectory {
  static var path: SystemPath { Environment.path("TMPDIR") ?? SystemPath(word: "/var/tmp") }
}

extension StateFormat: ExpressibleByArgument {
  public init?(argument: String) {
    switch argument {
    case "state": self = .state
    case "raw": self = .raw
    case "archive": self = .archive
    default: return nil
    }
  }
  public static var allValueStrings: [String] { ["state", "raw", "archive"] }
  public var defaultValueDescription: String { text }

  var text: String {
    switch self {
    case .state: "state"
    case .raw: "raw"
    case .archive: "archive"
    }
  }
}
