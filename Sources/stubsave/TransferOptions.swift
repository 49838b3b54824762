import ArgumentParser
import Codecs
import SaveDisk
import SystemIO
import Toolstack
import Transfer

/// Options of the commands that carry a state between a QEMU and a file.
struct TransferOptions: ParsableArguments {
  @Option(
    help: ArgumentHelp(
      "The monitor (QMP) of a QEMU on this machine, a Unix socket.", valueName: "socket"))
  var qmp: PathArgument

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
    help: ArgumentHelp("How long QEMU may take, before it is given up.", valueName: "seconds"))
  var timeout = Seconds(milliseconds: 60_000)

  @OptionGroup var newHeader: NewHeaderOptions

  func validate() throws {
    guard maxState.bytes > 0 else { throw ValidationError("--max-state must be more than 0.") }
  }

  var settings: TransferSettings {
    var settings = TransferSettings(socket: qmp.path, spoolDirectory: SpoolDirectory.path)
    settings.disk = disk?.path
    settings.setting = codec
    settings.header.chunkBytes = UInt32(newHeader.chunkSize.bytes)
    settings.maxStateBytes = maxState.bytes
    settings.timeoutMilliseconds = timeout.milliseconds
    return settings
  }
}

/// A time on the command line: seconds, with a fraction if need be.
struct Seconds: ExpressibleByArgument {
  let milliseconds: UInt64

  init(milliseconds: UInt64) { self.milliseconds = milliseconds }

  init?(argument: String) {
    let isPlain = argument.utf8.allSatisfy { $0 == 0x2E || ($0 >= 0x30 && $0 <= 0x39) }
    guard isPlain, let seconds = Double(argument), seconds > 0, seconds <= 1_000_000 else {
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
