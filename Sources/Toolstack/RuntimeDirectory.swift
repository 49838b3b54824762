import Foundation
import SaveDisk
import SystemIO
import Transfer

/// Where the commands of this machine leave word for each other while they are at work: whose turn
/// it is with a domain, and which block devices are save disks. Emptied by a restart of dom0, as all
/// of /run is, and with it everything that is told there.
enum RuntimeDirectory {
  static let path = SystemPath(word: "/run/stubsave")

  /// Makes it, if need be; for root alone.
  static func make() throws(ToolError) {
    do throws(SystemError) {
      try Names.makeDirectory(path)
    } catch {
      if error.errno == Errno.exists { return }
      throw ToolError(ExitStatus(error), path) {
        $0.append(error)
        $0.append("; run as root")
      }
    }
  }

  static func entry(_ name: PlainText) -> SystemPath {
    guard let path = path.appending(name.bytes) else { preconditionFailure() }
    return path
  }

  /// The entries whose names begin so, and what follows.
  static func entries(_ prefix: String) -> [String] {
    let names = try? FileManager.default.contentsOfDirectory(atPath: "/run/stubsave")
    return (names ?? []).filter { $0.hasPrefix(prefix) }.map { String($0.dropFirst(prefix.count)) }
      .sorted()
  }
}
