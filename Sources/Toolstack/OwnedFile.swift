import SaveDisk
import SystemIO
import Transfer

/// A file whose name says that somebody is at work: locked as long as its owner's process lives,
/// whatever becomes of that, and removed by the owner in the end.
struct OwnedFile: ~Copyable {
  let path: SystemPath
  private let file: FileDescriptor
  /// What an owner wrote that died before it could remove the file; empty if there was none.
  let leftBehind: [UInt8]
  private var isKept = false

  /// Another process may remove the file between its opening and its locking, so often.
  private static let maxAttempts = 64
  private static let maxBytes = 256

  /// - Parameter busy: what to say if somebody else has it.
  /// - Throws: `.busy`.
  static func claim(_ path: SystemPath, busy: StaticString) throws(ToolError) -> OwnedFile {
    for _ in 0..<maxAttempts {
      let file = try attempt(path) { () throws(SystemError) in
        try FileDescriptor.open(path, .lockFile)
      }
      do throws(SystemError) {
        try file.lockExclusively()
      } catch {
        guard error.errno == Errno.wouldBlock else { throw ToolError(error, path) }
        throw ToolError(.busy, path) { $0.append(busy) }
      }
      // Whoever had it before has removed it, and what is locked now is nobody's any more.
      guard let now = try? FileStatus.of(path, followingLinks: false),
        let ours = try? file.status(), now.isSameFile(as: ours)
      else { continue }
      let bytes = try attempt(path) { () throws(SystemError) in
        try file.bytes(count: min(ours.bytes, UInt64(maxBytes)))
      }
      return OwnedFile(path: path, file: file, leftBehind: bytes)
    }
    throw ToolError(.busy, path) { $0.append(busy) }
  }

  private init(path: SystemPath, file: consuming FileDescriptor, leftBehind: [UInt8]) {
    self.path = path
    self.file = file
    self.leftBehind = leftBehind
  }

  /// For whoever finds it left behind.
  func say(_ text: PlainText) throws(ToolError) {
    try attempt(path) { () throws(SystemError) in
      try file.truncate(to: 0)
      try file.rewind()
      try unsafe file.writeAll(text.bytes.span.bytes)
    }
  }

  /// Without its lock it stays behind, on purpose.
  consuming func keep() { isKept = true }

  /// While it is still locked: nobody else has it for his own.
  deinit { if !isKept { try? Names.remove(path) } }

  /// Whether its owner lives. Does not get in the way of somebody who claims it.
  static func isOwned(_ path: SystemPath) -> Bool {
    guard let file = try? FileDescriptor.open(path, .readItself) else { return false }
    return (try? file.isLocked()) ?? false
  }

  /// What somebody has written into his, without claiming it.
  static func look(at path: SystemPath) -> [UInt8]? {
    guard let file = try? FileDescriptor.open(path, .readItself), let status = try? file.status()
    else {
      return nil
    }
    return try? file.bytes(count: min(status.bytes, UInt64(maxBytes)))
  }
}
