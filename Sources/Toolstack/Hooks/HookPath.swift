import SaveDisk
import SystemIO
import Transfer

/// Where a libxl starts its QMP proxy, as it sees it: STUBDOM_QMP_PROXY_PATH of its build.
struct HookPath: Equatable, Sendable {
  let folder: String
  let name: String

  init(folder: String, name: String = HookFolder.usualName) {
    self.folder = folder
    self.name = name
  }

  /// - Parameter path: absolute, without dots that lead elsewhere, and such that a line of dpkg's list has it
  ///   as it is; nil for any other.
  init?(_ path: String) {
    let parts = path.split(separator: "/", omittingEmptySubsequences: false)
    guard parts.count > 2, parts[0].isEmpty, path.utf8.allSatisfy({ (0x21...0x7E).contains($0) }),
      parts.dropFirst().allSatisfy({ !$0.isEmpty && $0 != "." && $0 != ".." })
    else { return nil }
    name = String(parts[parts.count - 1])
    folder = parts.dropLast().joined(separator: "/")
  }

  var text: String { "\(folder)/\(name)" }
  /// Where libxl's own is while ours is in its place.
  var aside: String { text + HookFolder.asideSuffix }

  /// Debian's /usr/bin has a wrapper there that looks for the running Xen's, which libxl does not start;
  /// elsewhere libxl's own is there.
  var isAmongCommands: Bool { folder == "/usr/bin" || folder == "/usr/local/bin" }

  // MARK: The usual ones

  /// One directory for each version of Xen, as Debian has them, and as an administrator may.
  private static let versioned = [
    (parent: "/usr/lib", prefix: "xen-"), ("/usr/local", "xen"), ("/opt", "xen"),
  ]
  /// Upstream's own is `$bindir`, which Fedora, openSUSE and Qubes OS have, too (tools/configure.ac,
  /// stubdom_qmp_proxy).
  private static let directories = [
    "/usr/bin", "/usr/local/bin", "/usr/lib/xen/bin", "/usr/libexec/xen/bin",
    "/usr/local/lib/xen/bin", "/usr/local/libexec/xen/bin",
  ]
  /// For a message.
  static let usual =
    "/usr/bin, /usr/lib/xen*/bin, /usr/libexec/xen/bin, /usr/local or /opt/xen*/bin"

  /// All that there may be in a system.
  static func candidates(_ root: borrowing HookRoot) throws(SystemError) -> [HookPath] {
    var found: [HookPath] = []
    for (parent, prefix) in versioned {
      do throws(SystemError) {
        let names = try root.folder.folder(inRoot: try Hooks.systemPath(parent)).names()
        found += names.filter { $0.hasPrefix(prefix) }.sorted()
          .compactMap { HookPath("\(parent)/\($0)/bin/\(HookFolder.usualName)") }
      } catch {
        if !error.meansNothingThere { throw error }
      }
    }
    return found + directories.map { HookPath(folder: $0) }
  }
}
