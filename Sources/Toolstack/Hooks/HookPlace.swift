import SaveDisk
import SystemIO
import Transfer

/// A place where a libxl looks for its QMP proxy, and what is there.
public struct HookPlace: Sendable {
  public enum State: String, Sendable {
    /// libxl's own program.
    case original
    /// Ours; libxl's own stands beside it.
    case ours
    /// Ours, of a Xen that has been removed.
    case orphaned
    /// Nothing, but libxl's own stands beside it.
    case empty
    /// No folder, or nothing in it, but dpkg puts what comes there beside it.
    case gone
    /// What is no program, or two that are not ours.
    case unclear
  }

  let program: HookPath
  public let state: State
  /// Found only by whoever names it.
  public let isGiven: Bool

  /// As libxl sees it, that is below the root.
  public var path: String { program.text }
  /// Where libxl's own is while ours is in its place.
  public var aside: String { program.aside }

  /// A package's file may be there, of which dpkg has to know; below /usr/local none is.
  var isOfPackages: Bool { !path.hasPrefix("/usr/local/") }

  /// All that there are, each once, by the best of its names.
  ///
  /// - Parameters:
  ///   - given: instead of the usual ones.
  ///   - diverted: paths that dpkg diverts as `hooks install` has it.
  static func all(
    _ root: borrowing HookRoot, given: [HookPath], diverted: [String]
  ) throws(ToolError) -> [HookPlace] {
    var found: [Found] = []
    var paths = given
    if given.isEmpty {
      paths = try attempt(root.outside("/usr/lib")) { () throws(SystemError) in
        try HookPath.candidates(root)
      }
    }
    for path in paths {
      let isDiverted = diverted.contains(path.text)
      if let one = try look(path, isDiverted, isGiven: !given.isEmpty, root) { found.append(one) }
    }
    if given.isEmpty {
      for path in diverted.compactMap({ HookPath($0) }) where !paths.contains(path) {
        // Also of a place that was given, or of a Xen that is no more.
        guard let one = try look(path, true, isGiven: false, root) else { continue }
        if one.isOurs || path.name == HookFolder.usualName { found.append(one) }
      }
    }
    return try distinct(found, root)
  }

  /// What leads to another's folder or program is no place of its own.
  private static func distinct(
    _ found: [Found], _ root: borrowing HookRoot
  ) throws(ToolError) -> [HookPlace] {
    var places: [HookPlace] = []
    var folders: [(FileStatus, name: String)] = []
    var programs: [FileStatus] = []
    for one in found.filter({ !$0.isByLink }) + found.filter({ $0.isByLink }) {
      if let folder = one.status {
        let name = one.place.program.name
        if folders.contains(where: { $0.isSameFile(as: folder) && $1 == name }) { continue }
        folders.append((folder, name))
      }
      let names = try attempt(root.outside(one.place.path)) { () throws(SystemError) in
        [try root.statusIfThere(one.place.path), try root.statusIfThere(one.place.aside)]
      }
      if one.isByLink, let program = names[0],
        programs.contains(where: { $0.isSameFile(as: program) })
      {
        continue
      }
      programs += names.compactMap { $0 }
      places.append(one.place)
    }
    return places.sorted { $0.path < $1.path }
  }

  private struct Found {
    let place: HookPlace
    let status: FileStatus?
    /// The folder's last two names, or the program's, are links.
    let isByLink: Bool
    let isOurs: Bool
  }

  /// Nil if nothing is there.
  ///
  /// - Throws: if what is there was given, and is no place.
  private static func look(
    _ path: HookPath, _ isDiverted: Bool, isGiven: Bool, _ root: borrowing HookRoot
  ) throws(ToolError) -> Found? {
    let shown = root.outside(path.text)
    do throws(SystemError) {
      let opened = try HookFolder(path, root)
      let entries = try opened.look(root, isDiverted: isDiverted)
      let isWrapper = path.isAmongCommands ? try opened.isWrapper() : false
      if let state = State(entries, isDiverted: isDiverted), !isWrapper {
        return Found(
          place: HookPlace(program: path, state: state, isGiven: isGiven),
          status: try opened.status(), isByLink: try opened.isByLink() || entries.place.isLink,
          isOurs: entries.place.isOurs)
      }
    } catch {
      guard error.meansNothingThere else { throw ToolError(error, shown) }
      if isDiverted {
        return Found(
          place: HookPlace(program: path, state: .gone, isGiven: isGiven), status: nil,
          isByLink: false, isOurs: false)
      }
    }
    if !isGiven { return nil }
    throw ToolError(.notFound, shown) {
      $0.append("there is no program of libxl's by that name (--place)")
    }
  }
}

extension HookPlace.State {
  /// Nil if there is nothing.
  fileprivate init?(_ entries: HookFolder.Entries, isDiverted: Bool) {
    switch (entries.place, entries.aside) {
    case (.unusable, _), (_, .unusable): self = .unclear
    case (.nothing, .nothing):
      if !isDiverted { return nil }
      self = .gone
    case (.nothing, .program): self = .empty
    case (.ours, .program): self = .ours
    case (.nothing, .ours), (.ours, .nothing), (.ours, .ours): self = .orphaned
    case (.program, .nothing), (.program, .ours): self = .original
    case (.program, .program): self = entries.oldOne == nil ? .unclear : .original
    }
  }
}
