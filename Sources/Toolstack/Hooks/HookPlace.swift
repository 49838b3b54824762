import Foundation
import SaveDisk
import SystemIO
import Transfer

/// A place where a libxl looks for its QMP proxy (STUBDOM_QMP_PROXY_PATH), and what is there.
public struct HookPlace: Sendable {
  public enum State: Sendable {
    /// libxl's own program.
    case original
    /// Ours; libxl's own stands beside it.
    case ours
    /// Ours, of a Xen that has been removed.
    case orphaned
  }

  /// As libxl sees it, that is below `root`.
  public let path: String
  public let state: State
  let root: String

  static let name = "vchan-socket-proxy"
  /// What dpkg-divert takes if nothing is said; also where there is no dpkg.
  static let suffix = ".distrib"
  /// The second line of ours.
  static let mark =
    "# Put here by `stubsave hooks install xl`; `stubsave hooks remove xl` takes it away."

  /// Debian has one directory for each version of Xen, others one of these.
  private static let directories = [
    "/usr/lib/xen/bin", "/usr/libexec/xen/bin", "/usr/local/lib/xen/bin",
    "/usr/local/libexec/xen/bin",
  ]

  /// All that there are.
  static func all(root: String) -> [HookPlace] {
    let versions = (try? FileManager.default.contentsOfDirectory(atPath: root + "/usr/lib")) ?? []
    let debian = versions.filter { $0.hasPrefix("xen-") }.sorted().map { "/usr/lib/\($0)/bin" }
    return (debian + directories).compactMap { HookPlace("\($0)/\(name)", root: root) }
  }

  /// Nil if nothing is there.
  private init?(_ path: String, root: String) {
    let files = FileManager.default
    let found = root + path
    guard files.fileExists(atPath: found) else { return nil }
    self.path = path
    self.root = root
    guard HookPlace.isOurs(found) else {
      state = .original
      return
    }
    state = files.fileExists(atPath: found + HookPlace.suffix) ? .ours : .orphaned
  }

  private static func isOurs(_ path: String) -> Bool {
    guard let bytes = FileManager.default.contents(atPath: path), bytes.count < 4096 else {
      return false
    }
    return String(decoding: bytes, as: UTF8.self).split(separator: "\n").contains(mark[...])
  }

  /// Where libxl's own is while ours is in its place.
  var aside: String { path + HookPlace.suffix }
}
