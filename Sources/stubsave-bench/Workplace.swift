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
  func shell(_ line: String) throws { try run(["/bin/sh", "-c", line], expecting: 0) }

  /// Runs a program, with standard error closed if it is to fail.
  ///
  /// - Parameter words: argv; the first is a path.
  func run(_ words: [String], expecting code: Int32) throws {
    var process: pid_t = 0
    let arguments = unsafe words.map { unsafe strdup($0) } + [nil]
    defer { for index in unsafe arguments.indices { unsafe free(arguments[index]) } }
    var actions = unsafe posix_spawn_file_actions_t()
    unsafe posix_spawn_file_actions_init(&actions)
    defer { unsafe posix_spawn_file_actions_destroy(&actions) }
    if code != 0 { unsafe posix_spawn_file_actions_addclose(&actions, 2) }
    guard unsafe posix_spawn(&process, words[0], &actions, nil, arguments, environ) == 0 else {
      throw BenchError("cannot run \(words[0])")
    }
    var status: Int32 = 0
    while unsafe waitpid(process, &status, 0) < 0 {
      guard errno == EINTR else { throw BenchError("waitpid") }
    }
    guard status == code << 8 else {
      throw BenchError("failed: \(words.joined(separator: " "))")
    }
  }
}
