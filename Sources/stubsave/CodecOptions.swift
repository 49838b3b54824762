import ArgumentParser
import Codecs
import Toolstack

/// Options of the commands that code in dom0.
struct CodecOptions: ParsableArguments {
  @Option(
    help: """
      auto is LZ4, or none where that saves less than an eighth, or where the disk would wait.
      """)
  var codec = CodecName.auto

  @Option(
    help: ArgumentHelp("How hard zstd (1 to 19) or zlib (1 to 12) tries.", valueName: "number"))
  var level: Int?

  func validate() throws {
    guard let level else { return }
    guard let levels = codec.levels else {
      throw ValidationError("--level goes with --codec zstd or zlib.")
    }
    guard levels.contains(level) else {
      throw ValidationError(
        "--level of \(codec.rawValue) is \(levels.lowerBound) to \(levels.upperBound).")
    }
  }

  var setting: CodecSetting { codec.setting(level: level) }

  func workers(chunkBytes: Int) -> Int { codec.workers(level: level, chunkBytes: chunkBytes) }
}

extension CodecName: ExpressibleByArgument {
  public var defaultValueDescription: String { rawValue }
}
