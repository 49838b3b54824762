import SaveDisk
import SystemIO
import Transfer

/// A folder in which a libxl looks for its QMP proxy, and the moves in it. Of each it is true, and stays so
/// if it is the last one: libxl's place holds a whole program, and libxl's own has one of the two names.
///
/// Whoever else may change the folder meanwhile, nothing is renamed away or over by a look at it a moment
/// before: names change places, and what has come out is looked at.
struct HookFolder: ~Copyable {
  /// libxl's place, unless Xen was built with another.
  static let usualName = "vchan-socket-proxy"
  /// Where libxl's own is while ours is in its place: what dpkg-divert takes if nothing is said.
  static let asideSuffix = ".distrib"

  private let place: SystemPath
  private let aside: SystemPath
  /// A further name of libxl's own while a change is under way: if dpkg has put a new one to the one name
  /// after a change was cut short, that tells that what has the other is the old one.
  private let known: SystemPath
  /// Ours, before it is whole.
  private let draft: SystemPath

  private let folder: Folder
  /// As that system sees it.
  private let path: String

  struct Entries {
    var place: HookEntry
    var aside: HookEntry
    /// libxl's own that a change which was cut short has begun with.
    var known: FileStatus?
    /// dpkg puts what it would write to libxl's place beside it, as `hooks install` has it.
    var isDiverted: Bool

    enum Old { case place, aside, both }

    /// Which of two programs is of no worth; nil if that cannot be told.
    var oldOne: Old? {
      guard case .program(let own, _, _) = place else { return nil }
      if aside.isSame(as: own) { return .both }
      if place.isSame(as: known) { return .place }
      if aside.isSame(as: known) { return .aside }
      // rpm, or `make install`, has written a new one over ours. A script may be somebody's wrapper of
      // what lies aside.
      return !isDiverted && place.isBinary && aside.isBinary ? .aside : nil
    }
  }

  /// - Parameter program: the path of libxl's place.
  init(_ program: HookPath, _ root: borrowing HookRoot) throws(SystemError) {
    let own = ".stubsave-hooks" + (program.name == HookFolder.usualName ? "" : "-\(program.name)")
    self.init(
      place: try Hooks.systemPath(program.name),
      aside: try Hooks.systemPath(program.name + HookFolder.asideSuffix),
      known: try Hooks.systemPath(own), draft: try Hooks.systemPath(own + ".new"),
      folder: try root.folder.folder(inRoot: try Hooks.systemPath(program.folder)),
      path: program.folder)
  }

  private init(
    place: SystemPath, aside: SystemPath, known: SystemPath, draft: SystemPath,
    folder: consuming Folder, path: String
  ) {
    self.place = place
    self.aside = aside
    self.known = known
    self.draft = draft
    self.folder = folder
    self.path = path
  }

  /// Nothing can be put into it, by anybody: its file system is read-only.
  func isReadOnly() throws(SystemError) -> Bool { try folder.isReadOnly() }

  /// Where it is, as that system sees it, without links.
  func realPath(_ root: borrowing HookRoot) throws(SystemError) -> String {
    let found = String(decoding: try folder.path().bytes, as: UTF8.self)
    return String(found.dropFirst(root.path.utf8.count))
  }

  /// Whether libxl's place is a link to a program of another name, as Debian's wrapper is in /usr/bin:
  /// that goes by the name by which it is called, and would not be libxl's own by the name aside.
  func isWrapper() throws(SystemError) -> Bool {
    guard try folder.statusIfThere(of: place)?.isLink == true else { return false }
    let target = try folder.target(ofLink: place)
    return target.bytes.split(separator: UInt8(ascii: "/")).last != place.bytes
  }

  func status() throws(SystemError) -> FileStatus { try folder.descriptor.status() }

  /// Whether one of the last two names of its path is a link.
  func isByLink() throws(SystemError) -> Bool {
    let found = String(decoding: try folder.path().bytes, as: UTF8.self)
    return found.split(separator: "/").suffix(2) != path.split(separator: "/").suffix(2)
  }

  func look(_ root: borrowing HookRoot, isDiverted: Bool) throws(SystemError) -> Entries {
    Entries(
      place: try look(place, root), aside: try look(aside, root),
      known: try folder.statusIfThere(of: known), isDiverted: isDiverted)
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
    switch try look(draft, root) {
    case .nothing: break
    case .program(_, isExecutable: true, _) where try look(place, root).isOurs:
      // `refresh` had found a newer one of libxl's in its place.
      try folder.rename(draft, to: aside)
    case .ours, .program, .unusable: try folder.remove(draft)
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
    let name = isAside ? aside : place
    let own = try folder.status(of: name)
    if let found = try folder.statusIfThere(of: known) {
      if found.isSameFile(as: own) { return }
      try folder.remove(known)
    }
    try folder.link(name, to: known)
  }

  /// Once all is done.
  func forget() throws(SystemError) {
    do throws(SystemError) {
      try folder.remove(known)
    } catch {
      if error.errno != Errno.noEntry { throw error }
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
      try moveAsNew(draft, to: aside)
    } else {
      try folder.rename(draft, to: aside)
    }
    do throws(SystemError) {
      try folder.exchange(aside, with: place)
    } catch {
      guard HookFolder.meansNoExchange(error) else { throw error }
      try putByLink(script)
    }
    try folder.flush()
    if try look(place, root).isOurs { return }
    // dpkg has put a new one aside meanwhile; the next command finds which of the two is the old one.
    throw SystemError(.renameat, errno: Errno.busy)
  }

  /// The same where the file system cannot exchange names.
  private func putByLink(_ script: [UInt8]) throws(SystemError) {
    try folder.link(place, to: draft)
    try folder.rename(draft, to: aside)
    try write(script)
    try folder.rename(draft, to: place)
  }

  /// Ours to libxl's place, which is empty.
  func putAlone(_ script: [UInt8]) throws(SystemError) {
    try write(script)
    try moveAsNew(draft, to: place)
    try folder.flush()
  }

  /// Ours anew to where ours is, or an old one of libxl's that is of no worth any more.
  func refresh(
    _ script: [UInt8], _ root: borrowing HookRoot
  ) throws(SystemError) {
    try write(script)
    do throws(SystemError) {
      try folder.exchange(draft, with: place)
    } catch {
      guard HookFolder.meansNoExchange(error) else { throw error }
      try folder.rename(draft, to: place)
    }
    let begun = try folder.statusIfThere(of: known)
    switch try look(draft, root) {
    case .nothing: break
    case .program(let old, _, _) where begun?.isSameFile(as: old) != true:
      // Somebody has put a newer one of libxl's into its place just now.
      try folder.rename(draft, to: aside)
    case .ours, .program, .unusable: try folder.remove(draft)
    }
    try folder.flush()
  }

  /// libxl's own back from aside.
  func putBack(_ root: borrowing HookRoot) throws(SystemError) {
    do throws(SystemError) {
      try folder.exchange(aside, with: place)
    } catch {
      switch error.errno {
      case Errno.noEntry: try moveAsNew(aside, to: place)
      case _ where HookFolder.meansNoExchange(error):
        try folder.rename(aside, to: place)
      default: throw error
      }
      return try folder.flush()
    }
    let begun = try folder.statusIfThere(of: known)
    let out = try look(aside, root)
    if !out.isOurs && !out.isSame(as: begun) {
      // Somebody has put a newer one into the place just now: that stays, the old one goes.
      try folder.exchange(aside, with: place)
    }
    try folder.remove(aside)
    try folder.flush()
  }

  func removeAside() throws(SystemError) { try folder.remove(aside) }
  func removePlace() throws(SystemError) { try folder.remove(place) }

  /// Never over anything (EEXIST). Cut short it leaves both names, of one file.
  private func moveAsNew(_ name: SystemPath, to other: SystemPath) throws(SystemError) {
    try folder.link(name, to: other)
    try folder.remove(name)
  }

  /// A program of root's, complete.
  private func write(_ script: [UInt8]) throws(SystemError) {
    let file = try folder.create(draft)
    try unsafe file.writeAll(script.span.bytes)
    try file.makeExecutable()
    try file.flush()
  }

  private static func meansNoExchange(_ error: SystemError) -> Bool {
    error.errno == Errno.invalid || error.errno == Errno.noSystemCall
      || error.errno == Errno.notSupported
  }
}
