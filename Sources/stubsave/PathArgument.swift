import ArgumentParser
import SystemIO

/// A path on the command line, byte for byte.
///
/// Swift repairs arguments that are not UTF-8, which would name another file; the original bytes
/// are then looked up in argv.
struct PathArgument: ExpressibleByArgument {
  let path: SystemPath

  init?(argument: String) {
    guard !argument.isEmpty else { return nil }
    if argument.unicodeScalars.contains("\u{FFFD}") {
      for index in 1..<Int(CommandLine.argc) {
        guard let original = unsafe CommandLine.unsafeArgv[index] else { continue }
        let candidate = unsafe SystemPath(copying: original)
        let repaired = String(decoding: candidate.bytes, as: UTF8.self)
        if repaired == argument || repaired.hasSuffix("=" + argument) {
          let bytes =
            repaired == argument
            ? [UInt8](candidate.bytes) : PathArgument.afterEquals(candidate.bytes)
          guard let path = SystemPath(bytes: bytes) else { return nil }
          self.path = path
          return
        }
      }
    }
    guard let path = SystemPath(argument) else { return nil }
    self.path = path
  }

  private static func afterEquals(_ bytes: ArraySlice<UInt8>) -> [UInt8] {
    guard let equals = bytes.firstIndex(of: UInt8(ascii: "=")) else { return [UInt8](bytes) }
    return [UInt8](bytes[(equals + 1)...])
  }
}
