import Foundation
import SaveDisk
import SystemIO
import Transfer

extension Hooks {
  /// libxl's own vchan-socket-proxy, for ours to have behind it.
  ///
  /// - Parameter given: by whoever says where it is; otherwise it is looked for where `hooks` looks.
  /// - Throws: if it is ours under one of its names: that would start itself without end.
  public static func libxlsOwn(_ given: SystemPath?) throws(ToolError) -> SystemPath {
    let found = if let given { given } else { try find() }
    let own = SystemPath(word: "/proc/self/exe")
    // What is not there is told when it is started.
    guard let status = try? FileStatus.of(found), let running = try? FileStatus.of(own) else {
      return found
    }
    let isHook = status.kind == .regular && isHook(found)
    if status.isSameFile(as: running) || isHook {
      throw ToolError(.usage, found) {
        $0.append("is stubsave's own, not libxl's vchan-socket-proxy")
        if isHook { $0.append(", which stands beside it with .distrib behind its name") }
      }
    }
    return found
  }

  private static func isHook(_ path: SystemPath) -> Bool {
    let (directory, name) = path.directoryAndName
    guard let folder = try? Folder(directory), let file = try? folder.open(name) else {
      return false
    }
    return (try? HookEntry.isOurs(file)) ?? false
  }

  /// Not in a place of its own: NixOS has the programs of the system that runs there.
  private static let lastResort = "/run/current-system/sw/bin/vchan-socket-proxy"

  private static func find() throws(ToolError) -> SystemPath {
    let root = try HookRoot.here()
    var paths = try HookPlace.all(root, given: [], diverted: []).compactMap {
      place -> String? in
      switch place.state {
      case .original: place.path
      case .ours, .empty: place.aside
      case .orphaned, .gone, .unclear: nil
      }
    }
    if paths.count > 1, let version = runningVersion() {
      let those = paths.filter { $0.contains("/xen-\(version)/") }
      if !those.isEmpty { paths = those }
    }
    if paths.isEmpty && FileManager.default.isExecutableFile(atPath: lastResort) {
      paths = [lastResort]
    }
    guard let path = paths.first, let only = SystemPath(path) else {
      throw ToolError(.notFound, SystemPath(word: "/")) {
        $0.append("there is no vchan-socket-proxy of libxl's in ")
        $0.append(escaping: HookPath.usual.utf8)
        $0.append("; --program names it, or `program` in qmp-proxy.conf")
      }
    }
    if paths.count > 1 {
      throw ToolError(.usage, only) {
        $0.append("is not libxl's only vchan-socket-proxy, there is also ")
        $0.append(escaping: paths[1].utf8)
        $0.append("; --program says which, or `program` in qmp-proxy.conf")
      }
    }
    return only
  }

  /// "4.20", of the Xen that runs.
  private static func runningVersion() -> String? {
    let parts = ["major", "minor"].compactMap {
      FileManager.default.contents(atPath: "/sys/hypervisor/version/\($0)")
    }.map { String(decoding: $0.prefix { $0 != 10 }, as: UTF8.self) }
    return parts.count == 2 ? parts.joined(separator: ".") : nil
  }
}
