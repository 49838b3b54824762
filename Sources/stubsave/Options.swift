import ArgumentParser
import Codecs
import SaveDisk
import SystemIO
import Toolstack
import Transfer

/// Options of all commands.
struct OutputOptions: ParsableArguments {
  @Flag(help: "Print JSON on standard output.")
  var json = false
}

/// Options of the commands that judge a disk.
struct JudgingOptions: ParsableArguments {
  @Option(help: ArgumentHelp("Most raw bytes of all streams together.", valueName: "size"))
  var maxState = ByteCount(bytes: ReaderLimits.defaultStateBytes)

  @Option(
    help: ArgumentHelp(
      "Codecs whose decoder may be run, of lz4, zlib and zstd; none runs no decompressor.",
      valueName: "list"))
  var codecs = CodecList(set: .dom0)

  @Option(
    help: ArgumentHelp(
      "How long looking at it may take, at most 3600. (default: as long as it takes)",
      valueName: "seconds"))
  var timeout: Seconds?

  @OptionGroup var sandbox: SandboxOptions

  /// To be called before anything is looked at.
  func applySandbox() { sandbox.apply(timeoutMilliseconds: timeout?.milliseconds) }

  func readOptions(isDecoding: Bool) -> ReadOptions {
    var options = ReadOptions()
    options.limits = ReaderLimits(maxStateBytes: maxState.bytes)
    options.acceptedCodecs = codecs.set
    options.isDecoding = isDecoding
    return options
  }
}

/// Options of what gives a state to a QEMU.
struct TrailerOptions: ParsableArguments {
  @Flag(help: "Restore also a state without a trailer, which cannot be checked.")
  var acceptUnverified = false

  @Flag(help: "The default, and accepted for scripts that say so.")
  var requireTrailer = false

  func validate() throws {
    guard !acceptUnverified || !requireTrailer else {
      throw ValidationError("--accept-unverified and --require-trailer exclude each other.")
    }
  }
}

/// Options for a header that a command makes.
struct NewHeaderOptions: ParsableArguments {
  @Option(help: ArgumentHelp("Raw bytes of a full chunk: 64KiB to 1MiB.", valueName: "size"))
  var chunkSize = ByteCount(bytes: 262_144)

  func validate() throws {
    guard chunkSize.bytes <= UInt64(UInt32.max), DiskHeader.isChunkSize(UInt32(chunkSize.bytes))
    else {
      throw ValidationError("--chunk-size must be 64KiB, 128KiB, 256KiB, 512KiB or 1MiB.")
    }
  }
}

/// "lz4,zlib" or "none".
struct CodecList: ExpressibleByArgument {
  let set: CodecSet

  init(set: CodecSet) { self.set = set }

  init?(argument: String) {
    guard let set = CodecSet(names: argument.split(separator: ",").map(String.init)) else {
      return nil
    }
    self.set = set
  }

  var defaultValueDescription: String {
    self.set.names.filter { $0 != "none" && $0 != "zeros" }.joined(separator: ",")
  }
}

/// What crosses between dom0 and a stubdomain, which has no other codecs.
extension CodecSetting: ExpressibleByArgument {
  public init?(argument: String) {
    guard Self.allValueStrings.contains(argument) else { return nil }
    self.init(name: argument)
  }
  public static var allValueStrings: [String] { ["none", "lz4", "zlib", "auto"] }
  public var defaultValueDescription: String { "auto" }
}
extension Direction: ExpressibleByArgument {
  public init?(argument: String) {
    switch argument {
    case "save": self = .save
    case "restore": self = .restore
    default: return nil
    }
  }
  public static var allValueStrings: [String] { ["save", "restore"] }
  public var defaultValueDescription: String { text }
  var text: String { self == .save ? "save" : "restore" }
}

extension StreamName: ExpressibleByArgument {
  public init?(argument: String) { self.init(argument) }
  public var defaultValueDescription: String { text }
}
