import Foundation
import SaveDisk
import SystemIO
import Transfer

/// dpkg's word that an upgrade of Xen writes its vchan-socket-proxy to where we have put it, and
/// not over ours. Nothing where there is no dpkg.
enum Diversion {
  private static let program = "/usr/bin/dpkg-divert"
  private static let maxSeconds: UInt64 = 60

  static func add(_ place: HookPlace, _ steps: inout Hooks.Steps) throws(ToolError) {
    guard isDebian(steps.options) else { return }
    try change(["--add"], place, &steps, "have dpkg divert")
  }

  static func remove(_ place: HookPlace, _ steps: inout Hooks.Steps) throws(ToolError) {
    guard isDebian(steps.options), isThere(place, steps.options) else { return }
    try change(["--remove"], place, &steps, "have dpkg no more divert")
  }

  private static func isDebian(_ options: HookOptions) -> Bool {
    FileManager.default.fileExists(atPath: program)
      && FileManager.default.fileExists(atPath: options.prefix + "/var/lib/dpkg")
  }

  /// dpkg's list has three lines for each: the file, where it is put, the package that gets it.
  private static func isThere(_ place: HookPlace, _ options: HookOptions) -> Bool {
    let list = options.prefix + "/var/lib/dpkg/diversions"
    guard let bytes = FileManager.default.contents(atPath: list) else { return false }
    let lines = String(decoding: bytes, as: UTF8.self).split(separator: "\n")
    return zip(lines, lines.dropFirst()).contains { $0 == place.path && $1 == place.aside }
  }

  private static func change(
    _ verb: [String], _ place: HookPlace, _ steps: inout Hooks.Steps, _ word: String
  ) throws(ToolError) {
    let words =
      [program, "--root", steps.options.root, "--local", "--no-rename", "--quiet"]
      + ["--divert", place.aside] + verb + [place.path]
    var failure: ToolError?
    try steps.run(word, place.path) { () throws(SystemError) in
      failure = try run(words)
    }
    if let failure { throw failure }
  }

  /// - Returns: why it failed.
  private static func run(_ words: [String]) throws(SystemError) -> ToolError? {
    let path = try Hooks.systemPath(words[0])
    var arguments: [SystemPath] = []
    for word in words { arguments.append(try Hooks.systemPath(word)) }
    var process = try ChildProcess.start(path, arguments, files: [])
    let end = try process.wait(until: Deadline(timeoutMilliseconds: maxSeconds * 1000))
    if end == .exited(0) { return nil }
    return ToolError(.ioError, path) { text in
      text.append("failed: ")
      text.append(escaping: process.takeMessages().prefix { $0 != 0x0A })
    }
  }
}
