import Foundation
import SystemIO

struct BenchError: Error, CustomStringConvertible {
  let description: String
  init(_ description: String) { self.description = description }
}

/// A directory on a tmpfs, gone afterwards, and commands that run there.
final class Workplace {
  let directory: URL

  init() throws {
    directory = URL(fileURLWithPath: "/dev/shm/stubsave-bench-\(UUID().uuidString)")
    try FileManager.default.createDirectory(
      at: directory, withIntermediateDirectories: false,
      attributes: [.posixPermissions: 0o700])
  }

  deinit { try? FileManager.default.removeItem(at: directory) }

  func path(_ name: String) throws -> SystemPath {
    guard let path = SystemPath(directory.appendingPathComponent(name).path) else {
      throw BenchError("not a path: \(name)")
    }
    return path
  }

  func name(_ name: String) -> String { directory.appendingPathComponent(name).path }

  /// Runs a line of the shell and waits for its end; by posix_spawn, because Foundation's Process
  /// takes longer than what is measured.
  func shell(_ line: String) throws {
    var process: pid_t = 0
    let words = ["/bin/sh", "-c", line]
    let arguments = unsafe words.map { unsafe strdup($0) } + [nil]
    defer { for index in unsafe arguments.indices { unsafe free(arguments[index]) } }
    guard unsafe posix_spawn(&process, "/bin/sh", nil, nil, arguments, environ) == 0 else {
      throw BenchError("cannot run /bin/sh")
    }
    var status: Int32 = 0
    while unsafe waitpid(process, &status, 0) < 0 {
      guard errno == EINTR else { throw BenchError("waitpid") }
    }
    guard status == 0 else { throw BenchError("failed: \(line)") }
  }
}
