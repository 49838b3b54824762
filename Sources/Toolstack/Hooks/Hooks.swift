import SaveDisk
import SystemIO
import Transfer

public struct HookOptions: Sendable {
  /// Of the system that is changed; "/" is this one.
  public var root = SystemPath(word: "/")
  /// Where libxl starts its proxy, instead of the usual places.
  public var places: [String] = []
  /// Tells what would be done.
  public var isDryRun = false
  /// For `stubsave qmp-proxy`.
  public var proxyOptions: [String] = []

  public init() {}
}

public struct HookOutcome: Sendable {
  /// What has been done, or would be, a line each.
  public internal(set) var said: [PlainText] = []
  public internal(set) var warnings: [HookWarning] = []
  /// Of places where it could not be done; the others are not kept from it.
  public internal(set) var failures: [ToolError] = []
}

/// `hooks`: puts `qmp-proxy` where libxl starts its vchan-socket-proxy, and takes it away again.
///
/// At every moment there is a whole program in that place, and libxl's own there or beside it (`HookFolder`).
/// dpkg is told before anything moves, and hears of the end after everything is back: so what it writes when a
/// command was cut short goes to the name aside, and the next command finds which of the two is new.
public enum Hooks {
  /// - Throws: `.notFound` if there is no Xen.
  public static func install(_ options: HookOptions) throws(ToolError) -> HookOutcome {
    let root = try HookRoot.open(options.root, isChanged: !options.isDryRun)
    let program = try HookProgram.find(root)
    let diversion = try Diversion.open(root, isChanged: !options.isDryRun)
    let places = try places(root, diversion, options.places)
    var outcome = HookOutcome()
    outcome.warnings = program.warnings
    for place in places {
      let script = HookScript.text(
        program: program.path, aside: place.aside,
        place: place.isGiven ? place.path : nil, options: options.proxyOptions)
      let change = HookChange(place: place, shown: root.outside(place.path))
      outcome.add(options) { steps throws(ToolError) in
        try change.install([UInt8](script.utf8), root, diversion, &steps)
      }
    }
    if outcome.failures.isEmpty && !places.contains(where: { $0.state.hasLibxlsOwn }) {
      outcome.failures.append(noXen(options.root))
    }
    if diversion.isOfDpkg && !diversion.canChange {
      outcome.warnings.append(
        HookWarning(options.root) {
          $0.append("has a dpkg, but there is no dpkg-divert here to tell it: its next upgrade of ")
          $0.append("Xen puts libxl's own back into its place")
        })
    }
    return outcome
  }

  public static func remove(_ options: HookOptions) throws(ToolError) -> HookOutcome {
    let root = try HookRoot.open(options.root, isChanged: !options.isDryRun)
    let diversion = try Diversion.open(root, isChanged: !options.isDryRun)
    var outcome = HookOutcome()
    for place in try places(root, diversion, options.places) {
      let change = HookChange(place: place, shown: root.outside(place.path))
      outcome.add(options) { steps throws(ToolError) in
        try change.remove(root, diversion, &steps)
      }
    }
    return outcome
  }

  /// Those of `options`, or the usual ones.
  public static func places(_ options: HookOptions) throws(ToolError) -> [HookPlace] {
    let root = try HookRoot.open(options.root, isChanged: false)
    return try places(root, try Diversion.open(root, isChanged: false), options.places)
  }

  private static func places(
    _ root: borrowing HookRoot, _ diversion: borrowing Diversion, _ given: [String]
  ) throws(ToolError) -> [HookPlace] {
    var paths: [HookPath] = []
    for text in given {
      guard let path = HookPath(text) else {
        throw ToolError(.usage, SystemPath(text)) {
          $0.append("is no path of a program that begins with /, has only printable ASCII in it, ")
          $0.append("no space, and no . or .. (--place)")
        }
      }
      if !paths.contains(path) { paths.append(path) }
    }
    let found = try HookPlace.all(root, given: paths, diverted: diversion.paths)
    if found.isEmpty { throw noXen(root.outside(root.path.isEmpty ? "/" : "")) }
    return found
  }

  private static func noXen(_ root: SystemPath) -> ToolError {
    ToolError(.notFound, root) { text in
      text.append("there is no vchan-socket-proxy in ")
      text.append(escaping: HookPath.usual.utf8)
      text.append(": is a Xen with Linux stubdomains (4.15 or later) installed? If elsewhere, ")
      text.append("--place names it")
    }
  }

  static func systemPath(_ path: String) throws(SystemError) -> SystemPath {
    guard let path = SystemPath(path) else { throw SystemError(.open, errno: Errno.invalid) }
    return path
  }
}

extension HookPlace.State {
  /// There is something that ours can have behind it.
  var hasLibxlsOwn: Bool {
    switch self {
    case .original, .ours, .empty: true
    case .orphaned, .gone, .unclear: false
    }
  }
}

extension HookOutcome {
  fileprivate mutating func add(
    _ options: HookOptions, _ body: (inout HookSteps) throws(ToolError) -> Void
  ) {
    var steps = HookSteps(isDryRun: options.isDryRun)
    do throws(ToolError) { try body(&steps) } catch { failures.append(error) }
    said += steps.said
  }
}
