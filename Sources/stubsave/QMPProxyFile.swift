import ArgumentParser
import SaveDisk
import SystemIO
import Toolstack
import Transfer

/// The options of `stubsave-qmp-proxy` that libxl does not give: a line each, as on a command line without
/// its dashes.
enum QMPProxyFile {
  static let usual = "/etc/stubsave/qmp-proxy.conf"

  /// What may stand in it.
  private struct Line: ParsableArguments {
    @OptionGroup var place: ProxyPlace
    @OptionGroup var settings: ProxySettings
  }

  /// - Parameter given: instead of the usual one, which need not be there.
  /// - Returns: words of a command line.
  static func words(_ given: SystemPath?) throws(ToolError) -> [String] {
    let path = given ?? SystemPath(usual)
    guard let path, let bytes = try RootsFile.text(path, isOptional: given == nil) else {
      return []
    }
    var words: [String] = []
    let lines = bytes.split(separator: UInt8(ascii: "\n"), omittingEmptySubsequences: false)
    for (number, line) in lines.enumerated() {
      guard let word = word(of: line) else { continue }
      do {
        _ = try Line.parse([word])
      } catch {
        throw ToolError(.usage, path) {
          $0.append("line ")
          $0.append(UInt64(number + 1))
          $0.append(": ")
          $0.append(escaping: ArgumentText.decode(Line.message(for: error)))
        }
      }
      words.append(word)
    }
    return words
  }

  /// Nil if there is nothing in it.
  private static func word(of line: ArraySlice<UInt8>) -> String? {
    let isBlank = { (byte: UInt8) in byte == UInt8(ascii: " ") || byte == 0x09 || byte == 0x0D }
    let start = line.drop(while: isBlank)
    guard let first = start.first, first != UInt8(ascii: "#") else { return nil }
    let name = start.prefix { !isBlank($0) }
    var value = start.dropFirst(name.count).drop(while: isBlank)
    while let last = value.last, isBlank(last) { value.removeLast() }
    let option = "--" + ArgumentText.encode(name)
    return value.isEmpty ? option : option + "=" + ArgumentText.encode(value)
  }
}
