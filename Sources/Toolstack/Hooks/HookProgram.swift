import SaveDisk
import SystemIO
import Transfer

/// stubsave itself, as the system that is changed sees it: the script there names it, and root runs it for
/// each guest that starts.
struct HookProgram {
  /// How the kernel calls it, and `stubsave-qmp-proxy`: 15 bytes of the name.
  static let processNames = ["stubsave", "stubsave-qmp-pr"]

  let path: String
  let warnings: [HookWarning]

  /// This program.
  ///
  /// - Throws: if its path cannot stand in a script, or leads to something else.
  static func find(_ root: borrowing HookRoot) throws(ToolError) -> HookProgram {
    let own = SystemPath(word: "/proc/self/exe")
    let found = try attempt(own) { () throws(SystemError) in try Names.target(of: own) }
    guard let text = String(validating: found.bytes, as: UTF8.self), isPlain(text) else {
      throw ToolError(.unsupported, found) {
        $0.append("a script cannot name a program by such a path; have stubsave in another folder")
      }
    }
    // "/usr/bin/stubsave (deleted)", "(unreachable)/stubsave".
    guard let here = try? FileStatus.of(found), let running = try? FileStatus.of(own),
      here.isSameFile(as: running)
    else {
      throw ToolError(.notFound, found) {
        $0.append("is not the program that runs: it was replaced, or cannot be reached from here; ")
        $0.append("run the one that is there now")
      }
    }
    let isInside = text.hasPrefix(root.path + "/")
    let path = isInside ? String(text.dropFirst(root.path.count)) : text
    let said = try attempt(found) { () throws(SystemError) in try warnings(of: path, root) }
    return HookProgram(path: path, warnings: said)
  }

  /// In words that a shell, and whoever reads the script, takes as they are.
  private static func isPlain(_ path: String) -> Bool {
    path.hasPrefix("/")
      && path.unicodeScalars.allSatisfy { $0.properties.generalCategory != .control }
  }

  private static func warnings(
    of path: String, _ root: borrowing HookRoot
  ) throws(SystemError) -> [HookWarning] {
    guard let status = try root.statusIfThere(path), status.kind == .regular,
      status.permissions & 0o111 != 0
    else {
      return [
        HookWarning(root.outside(path)) {
          $0.append(
            "there is no such program in that system yet: until there is, libxl's own proxy ")
          $0.append("works alone")
        }
      ]
    }
    // From the file to the root: whoever can write to one of them says what root runs.
    var part = path
    while true {
      if let status = try root.statusIfThere(part.isEmpty ? "/" : part), isOpen(status) {
        return [
          HookWarning(root.outside(part.isEmpty ? "/" : part)) {
            $0.append("others than root can write to it, and so decide what root runs as ")
            $0.append(escaping: path.utf8)
          }
        ]
      }
      guard let slash = part.lastIndex(of: "/") else { return [] }
      part = String(part[..<slash])
    }
  }

  /// In a sticky directory others cannot replace what is root's.
  private static func isOpen(_ status: FileStatus) -> Bool {
    let isSticky = status.kind == .directory && status.permissions & 0o1000 != 0
    return status.owner != 0 || status.permissions & 0o022 != 0 && !isSticky
  }
}

/// What a user should know though it went well.
public struct HookWarning: Sendable {
  public let path: SystemPath
  public let text: PlainText

  init(_ path: SystemPath, _ build: (inout PlainText) -> Void) {
    self.path = path
    var text = PlainText()
    build(&text)
    self.text = text
  }
}
