import Foundation
import SaveDisk
import SystemIO
import Transfer

public struct HookOptions: Sendable {
  /// Of the system that is changed; "/" is this one.
  public var root = "/"
  /// Tells what would be done.
  public var isDryRun = false
  /// stubsave, as that system sees it.
  public var program: String
  /// For `stubsave qmp-proxy`.
  public var proxyOptions: [String] = []

  public init(program: String) { self.program = program }

  var prefix: String { root == "/" ? "" : root }
}

/// `hooks`: puts `qmp-proxy` where libxl starts its vchan-socket-proxy, and takes it away again.
///
/// At every moment there is one of the two in that place: each change of it is a rename(2) over
/// what is there.
public enum Hooks {
  /// - Returns: what has been done, or would be, a line each.
  /// - Throws: `.notFound` if there is no Xen; `.wouldDestroy` if something else stands where
  ///   libxl's own is to go.
  public static func install(_ options: HookOptions) throws(ToolError) -> [PlainText] {
    var said: [PlainText] = []
    for place in try places(options) where place.state != .orphaned {
      said += try install(options, at: place)
    }
    return said
  }

  /// - Returns: what has been done, or would be, a line each.
  public static func remove(_ options: HookOptions) throws(ToolError) -> [PlainText] {
    var said: [PlainText] = []
    for place in try places(options) { said += try remove(options, at: place) }
    return said
  }

  public static func places(_ options: HookOptions) throws(ToolError) -> [HookPlace] {
    let found = HookPlace.all(root: options.prefix)
    if !found.isEmpty { return found }
    throw ToolError(.notFound, SystemPath(options.root)) { text in
      text.append("there is no vchan-socket-proxy in /usr/lib/xen*/bin, /usr/libexec/xen/bin or ")
      text.append("/usr/local: is a Xen with Linux stubdomains (4.15 or later) installed?")
    }
  }

  private static func install(
    _ options: HookOptions, at place: HookPlace
  ) throws(ToolError) -> [PlainText] {
    var steps = Steps(options)
    let (path, aside) = (options.prefix + place.path, options.prefix + place.aside)
    if place.state == .original {
      if FileManager.default.fileExists(atPath: aside) {
        guard isSame(path, aside) else {
          throw ToolError(.wouldDestroy, SystemPath(aside)) {
            $0.append("is there, and is not the program of ")
            $0.append(escaping: place.path.utf8)
            $0.append("; look what it is, and remove it")
          }
        }
      } else {
        try steps.run("link", place.path, "to", place.aside) { () throws(SystemError) in
          try Names.link(try systemPath(path), to: try systemPath(aside))
        }
      }
      try Diversion.add(place, &steps)
    }
    let script = HookScript.text(
      program: options.program, aside: place.aside, options: options.proxyOptions)
    try steps.run("put `stubsave qmp-proxy` at", place.path) { () throws(SystemError) in
      try replace(path, script)
    }
    return steps.said
  }

  private static func remove(
    _ options: HookOptions, at place: HookPlace
  ) throws(ToolError) -> [PlainText] {
    var steps = Steps(options)
    let (path, aside) = (options.prefix + place.path, options.prefix + place.aside)
    switch place.state {
    case .ours:
      try steps.run("put libxl's own back at", place.path) { () throws(SystemError) in
        try Names.rename(try systemPath(aside), to: try systemPath(path))
      }
    case .orphaned:
      try steps.run("remove", place.path) { () throws(SystemError) in
        try Names.remove(try systemPath(path))
      }
    case .original where isSame(path, aside):
      // An `install` was killed before it had put ours there.
      try steps.run("remove", place.aside) { () throws(SystemError) in
        try Names.remove(try systemPath(aside))
      }
    case .original: break
    }
    try Diversion.remove(place, &steps)
    return steps.said
  }

  private static func isSame(_ path: String, _ other: String) -> Bool {
    guard let one = SystemPath(path).flatMap({ try? FileStatus.of($0) }),
      let two = SystemPath(other).flatMap({ try? FileStatus.of($0) })
    else { return false }
    return one.isSameFile(as: two)
  }

  /// A program of root's, complete before it has its name.
  private static func replace(_ path: String, _ text: String) throws(SystemError) {
    let path = try systemPath(path)
    let neighbour = try Names.temporary(in: path.directoryAndName.directory)
    do throws(SystemError) {
      let file = try FileDescriptor.open(neighbour, .createNew)
      try unsafe file.writeAll([UInt8](text.utf8).span.bytes)
      try file.makeExecutable()
      try file.flush()
      try Names.rename(neighbour, to: path)
    } catch {
      try? Names.remove(neighbour)
      throw error
    }
  }

  static func systemPath(_ path: String) throws(SystemError) -> SystemPath {
    guard let path = SystemPath(path) else { throw SystemError(.open, errno: Errno.invalid) }
    return path
  }

  /// Things that are done, or only told.
  struct Steps {
    let options: HookOptions
    private(set) var said: [PlainText] = []

    init(_ options: HookOptions) { self.options = options }

    /// - Parameter words: what it is, in words and paths.
    mutating func run(
      _ words: String..., body: () throws(SystemError) -> Void
    ) throws(ToolError) {
      var text = PlainText()
      if options.isDryRun { text.append("would ") }
      text.append(escaping: words.joined(separator: " ").utf8)
      if !options.isDryRun {
        let path = SystemPath(options.prefix + words[1]) ?? SystemPath(word: "/")
        do throws(SystemError) { try body() } catch { throw ToolError(error, path) }
      }
      said.append(text)
    }
  }
}
