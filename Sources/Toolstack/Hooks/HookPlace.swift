import SaveDisk
import SystemIO
import Transfer

/// A place where a libxl looks for its QMP proxy (STUBDOM_QMP_PROXY_PATH), and what is there.
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

  /// As libxl sees it, that is below the root.
  public let path: String
  public let state: State
  /// Where it is.
  let folder: String

  /// Where libxl's own is while ours is in its place.
  var aside: String { "\(folder)/\(HookFolder.asideName)" }

  /// Debian has one directory for each version of Xen, others one of these.
  private static let directories = [
    "/usr/lib/xen/bin", "/usr/libexec/xen/bin", "/usr/local/lib/xen/bin",
    "/usr/local/libexec/xen/bin",
  ]

  /// All that there are, each once, by the best of its names.
  ///
  /// - Parameter diverted: paths that dpkg diverts as `hooks install` has it.
  static func all(
    _ root: borrowing HookRoot, diverted: [String]
  ) throws(ToolError) -> [HookPlace] {
    var found: [Found] = []
    let paths = try attempt(root.outside("/usr/lib")) { () throws(SystemError) in
      try candidates(root, diverted)
    }
    for folder in paths {
      let isDiverted = diverted.contains("\(folder)/\(HookFolder.name)")
      if let one = try look(folder, isDiverted, root) { found.append(one) }
    }
    var places: [HookPlace] = []
    var folders: [FileStatus] = []
    var programs: [FileStatus] = []
    // What leads to another's folder or program is no place of its own.
    for one in found.filter({ !$0.isByLink }) + found.filter({ $0.isByLink }) {
      if let folder = one.status {
        if folders.contains(where: { $0.isSameFile(as: folder) }) { continue }
        folders.append(folder)
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

  private static func candidates(
    _ root: borrowing HookRoot, _ diverted: [String]
  ) throws(SystemError) -> [String] {
    var names: [String] = []
    do throws(SystemError) {
      names = try root.folder.folder(inRoot: SystemPath(word: "/usr/lib")).names()
    } catch {
      if !error.meansNothingThere { throw error }
    }
    let there =
      names.filter { $0.hasPrefix("xen-") }.sorted().map { "/usr/lib/\($0)/bin" } + directories
    let told = diverted.compactMap { path -> String? in
      guard path.hasSuffix("/\(HookFolder.name)") else { return nil }
      return String(path.dropLast(HookFolder.name.count + 1))
    }.filter { isAPlace($0) && !there.contains($0) }
    // dpkg's list has a line for each, and a space ends nothing there.
    return (there + told).filter { $0.utf8.allSatisfy { (0x21...0x7E).contains($0) } }
  }

  private static func isAPlace(_ folder: String) -> Bool {
    if directories.contains(folder) { return true }
    let parts = folder.split(separator: "/", omittingEmptySubsequences: false)
    return parts.count == 5 && parts[1] == "usr" && parts[2] == "lib"
      && parts[3].hasPrefix("xen-") && parts[4] == "bin"
  }

  private struct Found {
    let place: HookPlace
    let status: FileStatus?
    /// The folder's last two names, or the program's, are links.
    let isByLink: Bool
  }

  /// Nil if nothing is there.
  private static func look(
    _ folder: String, _ isDiverted: Bool, _ root: borrowing HookRoot
  ) throws(ToolError) -> Found? {
    let path = "\(folder)/\(HookFolder.name)"
    do throws(SystemError) {
      let opened = try HookFolder(folder, root)
      let entries = try opened.look(root)
      guard let state = State(entries, isDiverted: isDiverted) else { return nil }
      return Found(
        place: HookPlace(path: path, state: state, folder: folder), status: try opened.status(),
        isByLink: try opened.isByLink() || entries.place.isLink)
    } catch {
      guard error.meansNothingThere else { throw ToolError(error, root.outside(path)) }
      if !isDiverted { return nil }
      return Found(
        place: HookPlace(path: path, state: .gone, folder: folder), status: nil, isByLink: false)
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
