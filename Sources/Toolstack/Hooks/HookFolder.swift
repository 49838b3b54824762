import SaveDisk
import SystemIO
import Transfer

/// A folder in which a libxl looks for its QMP proxy, and the moves in it. Of each it is true, and stays so
/// if it is the last one: libxl's place holds a whole program, and libxl's own has one of the two names.
///
/// Whoever else may change the folder meanwhile, nothing is renamed away or over by a look at it a moment
/// before: names change places, and what has come out is looked at.
struct HookFolder: ~Copyable {
  /// libxl's place.
  static let name = "vchan-socket-proxy"
  /// Where libxl's own is while ours is in its place: what dpkg-divert takes if nothing is said.
  static let asideName = name + ".distrib"

  private static let place = SystemPath(word: "vchan-socket-proxy")
  private static let aside = SystemPath(word: "vchan-socket-proxy.distrib")
  /// A further name of libxl's own while a change is under way: if dpkg has put a new one to the one name
  /// after a change was cut short, that tells that what has the other is the old one.
  private static let known = SystemPath(word: ".stubsave-hooks")
  /// Ours, before it is whole.
  private static let draft = SystemPath(word: ".stubsave-hooks.new")

  private let folder: Folder
  /// As that system sees it.
  private let path: String

  struct Entries {
    var place: HookEntry
    var aside: HookEntry
    /// libxl's own that a change which was cut short has begun with.
    var known: FileStatus?

    enum Old { case place, aside, both }

    /// Which of two programs is of no worth; nil if that cannot be told.
    var oldOne: Old? {
      guard case .program(let own, _) = place else { return nil }
      if aside.isSame(as: own) { return .both }
      if place.isSame(as: known) { return .place }
      return aside.isSame(as: known) ? .aside : nil
    }
  }

  init(_ path: String, _ root: borrowing HookRoot) throws(SystemError) {
    folder = try root.folder.folder(inRoot: try Hooks.systemPath(path))
    self.path = path
  }

  func status() throws(SystemError) -> FileStatus { try folder.descriptor.status() }

  /// Whether one of the last two names of its path is a link.
  func isByLink() throws(SystemError) -> Bool {
    let found = String(decoding: try folder.path().bytes, as: UTF8.self)
    return found.split(separator: "/").suffix(2) != path.split(separator: "/").suffix(2)
  }

  func look(_ root: borrowing HookRoot) throws(SystemError) -> Entries {
    Entries(
      place: try look(HookFolder.place, root), aside: try look(HookFolder.aside, root),
      known: try folder.statusIfThere(of: HookFolder.known))
  }

  private func look(
    _ name: SystemPath, _ root: borrowing HookRoot
  ) throws(SystemError) -> HookEntry {
    let text = String(decoding: name.bytes, as: UTF8.self)
    return try HookEntry.of(name, in: folder, "\(path)/\(text)", root)
  }

  // MARK: Moves

  /// Removes what a command that was killed has left.
  func tidy(_ root: borrowing HookRoot) throws(SystemError) {
    switch try look(HookFolder.draft, root) {
    case .nothing: break
    case .program(_, isExecutable: true) where try look(HookFolder.place, root).isOurs:
      // `refresh` had found a newer one of libxl's in its place.
      try folder.rename(HookFolder.draft, to: HookFolder.aside)
    case .ours, .program, .unusable: try folder.remove(HookFolder.draft)
    }
    for name in try folder.names() where HookFolder.isOfAnEarlierVersion(name) {
      try? folder.remove(try Hooks.systemPath(name))
    }
  }

  /// `Names.temporary`.
  private static func isOfAnEarlierVersion(_ name: String) -> Bool {
    let prefix = ".stubsave-"
    guard name.hasPrefix(prefix), name.utf8.count == prefix.utf8.count + 16 else { return false }
    return name.dropFirst(prefix.count).allSatisfy { $0.isHexDigit && !$0.isUppercase }
  }

  /// Before libxl's own moves, or dpkg hears of it.
  func remember(theOneAside isAside: Bool) throws(SystemError) {
    let name = isAside ? HookFolder.aside : HookFolder.place
    let own = try folder.status(of: name)
    if let known = try folder.statusIfThere(of: HookFolder.known) {
      if known.isSameFile(as: own) { return }
      try folder.remove(HookFolder.known)
    }
    try folder.link(name, to: HookFolder.known)
  }

  /// Once all is done.
  func forget() throws(SystemError) {
    try HookFolder.ignoring(Errno.noEntry) { () throws(SystemError) in
      try folder.remove(HookFolder.known)
    }
    try folder.flush()
  }

  /// Ours to libxl's place, and what is there to the name aside.
  ///
  /// - Parameter isAsideFree: otherwise what has that name is of no worth.
  func put(
    _ script: [UInt8], isAsideFree: Bool, _ root: borrowing HookRoot
  ) throws(SystemError) {
    try write(script)
    if isAsideFree {
      try moveAsNew(HookFolder.draft, to: HookFolder.aside)
    } else {
      try folder.rename(HookFolder.draft, to: HookFolder.aside)
    }
    do throws(SystemError) {
      try folder.exchange(HookFolder.aside, with: HookFolder.place)
    } catch {
      guard HookFolder.meansNoExchange(error) else { throw error }
      try putByLink(script)
    }
    try folder.flush()
    if try look(HookFolder.place, root).isOurs { return }
    // dpkg has put a new one aside meanwhile; the next command finds which of the two is the old one.
    throw SystemError(.renameat, errno: Errno.busy)
  }

  /// The same where the file system cannot exchange names.
  private func putByLink(_ script: [UInt8]) throws(SystemError) {
    try folder.link(HookFolder.place, to: HookFolder.draft)
    try folder.rename(HookFolder.draft, to: HookFolder.aside)
    try write(script)
    try folder.rename(HookFolder.draft, to: HookFolder.place)
  }

  /// Ours to libxl's place, which is empty.
  func putAlone(_ script: [UInt8]) throws(SystemError) {
    try write(script)
    try moveAsNew(HookFolder.draft, to: HookFolder.place)
    try folder.flush()
  }

  /// Ours anew to where ours is, or an old one of libxl's that is of no worth any more.
  func refresh(
    _ script: [UInt8], _ root: borrowing HookRoot
  ) throws(SystemError) {
    try write(script)
    do throws(SystemError) {
      try folder.exchange(HookFolder.draft, with: HookFolder.place)
    } catch {
      guard HookFolder.meansNoExchange(error) else { throw error }
      try folder.rename(HookFolder.draft, to: HookFolder.place)
    }
    let known = try folder.statusIfThere(of: HookFolder.known)
    switch try look(HookFolder.draft, root) {
    case .nothing: break
    case .program(let old, _) where known?.isSameFile(as: old) != true:
      // Somebody has put a newer one of libxl's into its place just now.
      try folder.rename(HookFolder.draft, to: HookFolder.aside)
    case .ours, .program, .unusable: try folder.remove(HookFolder.draft)
    }
    try folder.flush()
  }

  /// libxl's own back from aside.
  func putBack(_ root: borrowing HookRoot) throws(SystemError) {
    do throws(SystemError) {
      try folder.exchange(HookFolder.aside, with: HookFolder.place)
    } catch {
      switch error.errno {
      case Errno.noEntry: try moveAsNew(HookFolder.aside, to: HookFolder.place)
      case _ where HookFolder.meansNoExchange(error):
        try folder.rename(HookFolder.aside, to: HookFolder.place)
      default: throw error
      }
      return try folder.flush()
    }
    let known = try folder.statusIfThere(of: HookFolder.known)
    let out = try look(HookFolder.aside, root)
    if !out.isOurs && !out.isSame(as: known) {
      // Somebody has put a newer one into the place just now: that stays, the old one goes.
      try folder.exchange(HookFolder.aside, with: HookFolder.place)
    }
    try folder.remove(HookFolder.aside)
    try folder.flush()
  }

  func removeAside() throws(SystemError) { try folder.remove(HookFolder.aside) }
  func removePlace() throws(SystemError) { try folder.remove(HookFolder.place) }

  /// Never over anything (EEXIST). Cut short it leaves both names, of one file.
  private func moveAsNew(_ name: SystemPath, to other: SystemPath) throws(SystemError) {
    try folder.link(name, to: other)
    try folder.remove(name)
  }

  /// A program of root's, complete.
  private func write(_ script: [UInt8]) throws(SystemError) {
    let file = try folder.create(HookFolder.draft)
    try unsafe file.writeAll(script.span.bytes)
    try file.makeExecutable()
    try file.flush()
  }

  private static func meansNoExchange(_ error: SystemError) -> Bool {
    error.errno == Errno.invalid || error.errno == Errno.noSystemCall
      || error.errno == Errno.notSupported
  }

  private static func ignoring(
    _ errno: Int32, _ body: () throws(SystemError) -> Void
  ) throws(SystemError) {
    do throws(SystemError) { try body() } catch { if error.errno != errno { throw error } }
  }
}
