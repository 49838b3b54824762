import SaveDisk
import SystemIO
import Transfer

/// dpkg's word that an upgrade of Xen writes its vchan-socket-proxy to where we have put it, and
/// not over ours. Nothing where there is no dpkg.
struct Diversion: ~Copyable {
  private static let program = SystemPath(word: "/usr/bin/dpkg-divert")
  private static let maxSeconds: UInt64 = 60

  /// Nil where there is none. Holds the locks.
  private let database: DpkgDatabase?
  private let databasePath: SystemPath
  private let all: [DpkgDatabase.Diversion]
  private let root: SystemPath
  /// For a child, which holds them on if this process is killed.
  private let lockNumbers: [Int32]
  /// The system has a dpkg.
  let isOfDpkg: Bool
  /// It can be told.
  let canChange: Bool

  /// Of one place.
  enum State {
    case none
    /// As `hooks install` has made it.
    case ours
    /// To the same name, by a package: as good as ours, and not ours to remove.
    case ofPackage
    case elsewhere(DpkgDatabase.Diversion)
  }

  /// - Parameter isChanged: dpkg is kept from work.
  static func open(
    _ root: borrowing HookRoot, isChanged: Bool
  ) throws(ToolError) -> Diversion {
    guard var database = try DpkgDatabase.open(root) else { return Diversion(without: root) }
    if isChanged { try database.lock() }
    let all = try database.diversions()
    return Diversion(database, all, root, canChange: try hasProgram())
  }

  private static func hasProgram() throws(ToolError) -> Bool {
    do throws(SystemError) {
      return try FileStatus.of(program).kind == .regular
    } catch {
      if error.meansNothingThere { return false }
      throw ToolError(error, program)
    }
  }

  private init(
    _ database: consuming DpkgDatabase, _ all: [DpkgDatabase.Diversion],
    _ root: borrowing HookRoot, canChange: Bool
  ) {
    self.all = all
    databasePath = database.path
    lockNumbers = [root.folder.descriptor.number] + database.lockNumbers
    self.database = consume database
    self.root = root.path.isEmpty ? SystemPath(word: "/") : root.outside("")
    isOfDpkg = true
    self.canChange = canChange
  }

  private init(without root: borrowing HookRoot) {
    all = []
    databasePath = SystemPath(word: "/")
    lockNumbers = []
    database = nil
    self.root = root.outside("")
    isOfDpkg = false
    canChange = false
  }

  func state(of place: HookPlace) -> State {
    guard let found = all.first(where: { $0.file == place.path }) else { return .none }
    if found.aside != place.aside { return .elsewhere(found) }
    return found.isLocal ? .ours : .ofPackage
  }

  /// Of all places, also those that are there no more, the paths.
  var paths: [String] {
    all.filter { $0.isLocal && $0.aside == $0.file + HookFolder.asideSuffix }.map(\.file)
  }

  func add(_ place: HookPlace) throws(ToolError) { try change("--add", place) }
  func remove(_ place: HookPlace) throws(ToolError) { try change("--remove", place) }

  private func change(_ verb: StaticString, _ place: HookPlace) throws(ToolError) {
    let failure = try attempt(Diversion.program) { () throws(SystemError) in
      try run(verb, place)
    }
    if let failure { throw failure }
  }

  /// - Returns: why it failed.
  private func run(
    _ verb: StaticString, _ place: HookPlace
  ) throws(SystemError) -> ToolError? {
    // The database after the root: through the latter a link of that system would be one of ours.
    let arguments =
      [
        Diversion.program, SystemPath(word: "--root"), root, SystemPath(word: "--admindir"),
        databasePath,
      ]
      + ["--local", "--no-rename", "--quiet", "--divert"].map { SystemPath(word: $0) }
      + [
        try Hooks.systemPath(place.aside), SystemPath(word: verb),
        try Hooks.systemPath(place.path),
      ]
    var process = try ChildProcess.start(
      Diversion.program, arguments, files: lockNumbers)
    let end = try process.wait(
      until: Deadline(timeoutMilliseconds: Diversion.maxSeconds * 1000))
    if end == .exited(0) { return nil }
    return ToolError(.ioError, Diversion.program) { text in
      text.append("failed: ")
      text.append(escaping: process.takeMessages().prefix { $0 != 0x0A })
    }
  }
}
