import Foundation
import SaveDisk
import SystemIO
import Transfer

/// The system that is changed, held open and locked as long as somebody looks or works: one command
/// at a time, by whatever path it calls the system.
///
/// The lock is that of the root directory itself, so nothing is left of it, and `/` and `--root` of the
/// same system have the same one. The children of a command that was killed hold it on.
struct HookRoot: ~Copyable {
  let folder: Folder
  /// As this system sees it, without links; empty if it is the root here, too.
  let path: String

  /// What others do takes a fraction of a second.
  static let lockMilliseconds: UInt64 = 10_000

  /// - Parameter isChanged: by whoever opens it; otherwise it is only looked at.
  /// - Throws: `.busy` if another command is not through in time.
  static func open(_ path: SystemPath, isChanged: Bool) throws(ToolError) -> HookRoot {
    let folder = try attempt(path) { () throws(SystemError) in try Folder(path) }
    do throws(SystemError) {
      try folder.lock(
        isShared: !isChanged, until: Deadline(timeoutMilliseconds: lockMilliseconds))
    } catch {
      guard error.errno == Errno.wouldBlock else { throw ToolError(error, path) }
      throw ToolError(.busy, path) {
        $0.append("another `stubsave hooks` is at work with this system")
      }
    }
    let found = try attempt(path) { () throws(SystemError) in try folder.path() }
    guard let text = String(validating: found.bytes, as: UTF8.self) else {
      throw ToolError(.unsupported, found) { $0.append("is no path in UTF-8") }
    }
    return HookRoot(folder: folder, path: text == "/" ? "" : text)
  }

  /// The system here, as it is at this moment: whatever changes it has whole programs in all places.
  static func here() throws(ToolError) -> HookRoot {
    let path = SystemPath(word: "/")
    return HookRoot(
      folder: try attempt(path) { () throws(SystemError) in try Folder(path) }, path: "")
  }

  private init(folder: consuming Folder, path: String) {
    self.folder = folder
    self.path = path
  }

  /// A path below it as this system sees it, for messages.
  func outside(_ inside: String) -> SystemPath {
    SystemPath(path + inside) ?? SystemPath(word: "/")
  }

  /// Nil if the path leads nowhere in that system.
  func statusIfThere(_ inside: String) throws(SystemError) -> FileStatus? {
    do throws(SystemError) {
      return try folder.status(inRoot: try Hooks.systemPath(inside))
    } catch {
      if error.meansNothingThere { return nil }
      throw error
    }
  }
}

extension SystemError {
  /// Of a path: something in it is missing, is no directory, or is a link that leads to itself.
  var meansNothingThere: Bool {
    errno == Errno.noEntry || errno == Errno.notDirectory || errno == Errno.loop
  }
}

extension Folder {
  /// All names in it that are UTF-8.
  func names() throws(SystemError) -> [String] {
    do {
      return try FileManager.default.contentsOfDirectory(atPath: procPath.text)
    } catch {
      throw SystemError(.read, errno: Errno.ioError)
    }
  }
}
