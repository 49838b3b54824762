import ArgumentParser
import Foundation
import SaveDisk
import SystemIO
import Toolstack
import Transfer

struct HooksCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "hooks",
    abstract: "Have a toolstack save and restore over save disks.",
    subcommands: [HooksInstall.self, HooksRemove.self, HooksShow.self])
}

/// Whose hooks.
enum Toolstack: String, ExpressibleByArgument, CaseIterable {
  /// libxl's, which are also libvirt's.
  case xl
}

struct HooksOptions: ParsableArguments {
  @Argument(help: "The toolstack: xl, which stands for all that use libxl.")
  var toolstack: Toolstack

  @Option(help: ArgumentHelp("The system that is meant, if not this one.", valueName: "directory"))
  var root = PathArgument(path: SystemPath(word: "/"))

  @Option(
    help: ArgumentHelp(
      """
      Where libxl starts its proxy, if Xen was built for another place than the usual ones; may be \
      repeated.
      """,
      valueName: "program"))
  var place: [String] = []

  func validate() throws {
    guard root.path.bytes.first == UInt8(ascii: "/") else {
      throw ValidationError("--root must begin with /.")
    }
  }

  func options() -> HookOptions {
    var options = HookOptions()
    options.root = root.path
    options.places = place
    return options
  }
}

struct HooksInstall: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "install",
    abstract: "Put 'stubsave qmp-proxy' in the place of libxl's vchan-socket-proxy.",
    discussion: """
      libxl's own stays beside it, as vchan-socket-proxy.distrib, and goes on doing its work behind \
      ours; on Debian dpkg is told. Stubdomains that run already keep their proxy until they are \
      started anew. Run it again after a new version of Xen, or to change the options.
      """)

  @OptionGroup var hooks: HooksOptions
  @OptionGroup var settings: ProxySettings

  @Flag(help: "Tell what would be done, and do nothing.")
  var dryRun = false

  @OptionGroup var output: OutputOptions

  /// Not of `qmp-proxy`: one that was installed before there was such a limit still starts stubdomains.
  func validate() throws {
    let least = QMPProxyOptions.minConsoleBytes
    guard settings.maxConsole.bytes == 0 || settings.maxConsole.bytes >= least else {
      throw ValidationError(
        """
        --max-console must be at least \(least), or 0 for no limit: it holds for every file of the QEMU in dom0 \
        that serves the consoles, also for the one that QEMU 10 keeps its display in, and that QEMU would end.
        """)
    }
  }

  func run() throws {
    try Console.run(json: output.json) { () throws(ToolError) -> ExitStatus in
      var options = hooks.options()
      options.isDryRun = dryRun
      options.proxyOptions = settings.words
      return try HooksText.say(try Hooks.install(options), json: output.json)
    }
  }
}

struct HooksRemove: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "remove",
    abstract: "Put libxl's own vchan-socket-proxy back.",
    discussion: "Stubdomains that run already keep their proxy.")

  @OptionGroup var hooks: HooksOptions

  @Flag(help: "Tell what would be done, and do nothing.")
  var dryRun = false

  @OptionGroup var output: OutputOptions

  func run() throws {
    try Console.run(json: output.json) { () throws(ToolError) -> ExitStatus in
      var options = hooks.options()
      options.isDryRun = dryRun
      return try HooksText.say(try Hooks.remove(options), json: output.json)
    }
  }
}

struct HooksShow: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "show",
    abstract: "Tell what stands in libxl's place, a line for each, and whose proxies run.")

  @OptionGroup var hooks: HooksOptions
  @OptionGroup var xenstore: XenstoreOptions
  @OptionGroup var output: OutputOptions

  func run() throws {
    try Console.run(json: output.json) { () throws(ToolError) -> ExitStatus in
      let places = try Hooks.places(hooks.options())
      // Without Xen running there is nobody to be listed.
      let isHere =
        hooks.root.path.text == "/" && FileManager.default.fileExists(atPath: xenstore.path.text)
      let others = isHere ? try Hooks.proxiesOfOthers(xenstore.path) : []
      if output.json {
        try Console.say(json: HooksReport(places, others))
        return .good
      }
      let isHooked = places.contains { $0.state == .ours || $0.state == .orphaned }
      for place in places {
        try Console.say(HooksText.line(place, isTheOnlyKind: !isHooked))
      }
      for stubdomain in others { try Console.say(HooksText.line(stubdomain)) }
      return .good
    }
  }
}

enum HooksText {
  /// - Throws: the first of the failures; the others are told before.
  static func say(_ outcome: HookOutcome, json: Bool) throws(ToolError) -> ExitStatus {
    if !json {
      for line in outcome.said { try Console.say(line.text) }
    } else if !outcome.said.isEmpty || outcome.failures.isEmpty {
      try Console.say(json: StepsReport(steps: outcome.said.map(\.text)))
    }
    for warning in outcome.warnings { Console.warn(warning.path, warning.text) }
    for failure in outcome.failures.dropFirst() { Console.complain(failure.text) }
    if let first = outcome.failures.first { throw first }
    return .good
  }

  /// - Parameter isTheOnlyKind: ours is in no place.
  static func line(_ place: HookPlace, isTheOnlyKind: Bool) -> String {
    let command = { (verb: String) in
      "`stubsave hooks \(verb) xl\(place.isGiven ? " --place \(place.path)" : "")`"
    }
    let aside = place.aside.split(separator: "/").last ?? ""
    switch place.state {
    case .original where isTheOnlyKind:
      return "\(place.path): libxl's own; \(command("install")) puts ours there"
    case .original:
      return "\(place.path): libxl's own, and ours is elsewhere: guests of this Xen are not saved "
        + "over a disk; \(command("install")) puts ours there, too"
    case .ours: return "\(place.path): stubsave's; libxl's own is \(aside)"
    case .orphaned:
      return "\(place.path): stubsave's, of a Xen that is no longer there; "
        + "\(command("remove")) takes it away"
    case .empty:
      return "\(place.path): nothing, but libxl's own is \(aside); "
        + "\(command("install")) puts ours there, `remove` libxl's own"
    case .gone:
      return "\(place.path): not there, but dpkg diverts it; \(command("remove")) ends that"
    case .unclear:
      return "\(place.path): it or \(aside) is neither libxl's own nor stubsave's; "
        + "look what they are"
    }
  }

  static func line(_ stubdomain: StubdomainSummary) -> String {
    if stubdomain.isProxyLost {
      return "stubdomain \(stubdomain.domid), \(stubdomain.name.text): its proxy was killed; "
        + "`stubsave proxy adopt \(stubdomain.domid)` starts another"
    }
    let proxy = stubdomain.proxy.bytes.isEmpty ? "no proxy" : "\(stubdomain.proxy.text), not ours"
    return "stubdomain \(stubdomain.domid), \(stubdomain.name.text): \(proxy); "
      + "its guest is not saved over a disk before it is started anew"
  }
}

struct StepsReport: Encodable {
  let type = "steps"
  let steps: [String]
  enum CodingKeys: CodingKey { case type, steps }
}

struct HooksReport: Encodable {
  let type = "hooks"
  let places: [Place]
  /// Whose proxy is not ours.
  let stubdomains: [StubdomainReport]
  enum CodingKeys: CodingKey { case type, places, stubdomains }

  struct Place: Encodable {
    let path: String
    /// `original`, `ours`, `orphaned`, `empty`, `gone`, `unclear`.
    let state: String
  }

  init(_ places: [HookPlace], _ others: [StubdomainSummary]) {
    self.places = places.map { Place(path: $0.path, state: "\($0.state)") }
    stubdomains = others.map(StubdomainReport.init)
  }
}
