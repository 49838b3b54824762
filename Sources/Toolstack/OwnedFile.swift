import SaveDisk
import SystemIO
import Transfer

/// A file whose name says that somebody is at work: locked as long as its owner's process lives,
/// whatever becomes of that, and removed by the owner in the end.
///
/// Of the two locks that `FileDescriptor.lockExclusively` takes, an owner has both. Whoever only puts
/// away what others have left has the first: nobody takes him for an owner, and owners wait for him.
struct OwnedFile: ~Copyable {
  let path: SystemPath
  private let file: FileDescriptor
  /// What an owner wrote that died before it could remove the file; empty if there was none.
  let leftBehind: [UInt8]
  /// Removed only once the kernel has taken this away.
  var outlives: LoopIdentity?
  private var isKept: Bool

  private static let maxBytes = 256
  private static let loopMilliseconds: UInt64 = 1_000
  /// There is no event for a lock that is given back.
  private static let pauseMilliseconds: Int32 = 5

  /// - Parameters:
  ///   - busy: what to say if somebody else has it.
  ///   - collector: how long one is waited for who puts away what others have left.
  ///   - owner: how long an owner is waited for.
  /// - Throws: `.busy`.
  static func claim(
    _ path: SystemPath, busy: StaticString, waiting collector: Deadline, forOwner owner: Deadline
  ) throws(ToolError) -> OwnedFile {
    while true {
      let file = try attempt(path) { () throws(SystemError) in
        try FileDescriptor.open(path, .lockFile)
      }
      switch try lock(path, { () throws(SystemError) in try file.lockExclusively() }) {
      case true:
        if let bytes = try whatIsIn(file, path) {
          return OwnedFile(path: path, file: file, leftBehind: bytes, isKept: false)
        }
      case false:
        let isOwned = try attempt(path) { () throws(SystemError) in try file.isLocked() }
        if (isOwned ? owner : collector).hasPassed {
          throw ToolError(.busy, path) { $0.append(busy) }
        }
        try pause(path)
      }
    }
  }

  /// To look after what somebody has left: it stays where it is unless it is told to go.
  ///
  /// - Parameters:
  ///   - isMade: if it is not there; else nil is returned.
  ///   - collector: how long another one is waited for who does the same.
  ///   - owner: how long an owner is waited for, who may be at his end.
  /// - Returns: nil also if somebody has it.
  static func collect(
    _ path: SystemPath, isMade: Bool, waiting collector: Deadline, forOwner owner: Deadline
  ) throws(ToolError) -> OwnedFile? {
    while true {
      guard let file = try open(path, isMade: isMade) else { return nil }
      switch try lock(path, { () throws(SystemError) in try file.lockForAMoment() }) {
      case true:
        if let bytes = try whatIsIn(file, path) {
          return OwnedFile(path: path, file: file, leftBehind: bytes, isKept: !isMade)
        }
      case false:
        let isOwned = try attempt(path) { () throws(SystemError) in try file.isLocked() }
        if (isOwned ? owner : collector).hasPassed { return nil }
        try pause(path)
      }
    }
  }

  private static func open(
    _ path: SystemPath, isMade: Bool
  ) throws(ToolError) -> FileDescriptor? {
    do throws(SystemError) {
      return try FileDescriptor.open(path, isMade ? .lockFile : .existingLockFile)
    } catch {
      if !isMade && error.errno == Errno.noEntry { return nil }
      throw ToolError(error, path)
    }
  }

  private static func lock(
    _ path: SystemPath, _ body: () throws(SystemError) -> Void
  ) throws(ToolError) -> Bool {
    do throws(SystemError) {
      try body()
      return true
    } catch {
      if error.errno == Errno.wouldBlock { return false }
      throw ToolError(error, path)
    }
  }

  private static func pause(_ path: SystemPath) throws(ToolError) {
    try attempt(path) { () throws(SystemError) in
      try MonotonicClock.pause(milliseconds: pauseMilliseconds)
    }
  }

  /// Nil if whoever had it before has removed it: what is locked then is nobody's any more.
  private static func whatIsIn(
    _ file: borrowing FileDescriptor, _ path: SystemPath
  ) throws(ToolError) -> [UInt8]? {
    guard isAt(path, file) else { return nil }
    let number = file.number
    return try attempt(path) { () throws(SystemError) in
      let file = FileDescriptor(borrowing: number)
      return try file.bytes(count: min(try file.status().bytes, UInt64(maxBytes)))
    }
  }

  private static func isAt(_ path: SystemPath, _ file: borrowing FileDescriptor) -> Bool {
    guard let now = try? FileStatus.of(path, followingLinks: false), let ours = try? file.status()
    else { return false }
    return now.isSameFile(as: ours)
  }

  private init(
    path: SystemPath, file: consuming FileDescriptor, leftBehind: [UInt8], isKept: Bool
  ) {
    self.path = path
    self.file = file
    self.leftBehind = leftBehind
    self.isKept = isKept
  }

  /// For whoever finds it left behind. If it cannot be written, what was said before stands.
  func say(_ text: PlainText) throws(ToolError) {
    try attempt(path) { () throws(SystemError) in
      try unsafe file.writeAll(text.bytes.span.bytes, at: 0)
      try file.truncate(to: UInt64(text.bytes.count))
    }
  }

  /// Without its lock it stays behind, on purpose.
  consuming func keep() { isKept = true }

  /// What was left behind goes.
  consuming func remove() { isKept = false }

  /// While it is still locked: nobody else has it for his own. Under its name there may be another
  /// all the same, if somebody has cleared the directory.
  deinit {
    if isKept || !OwnedFile.isAt(path, file) { return }
    if let outlives,
      !outlives.isOver(by: Deadline(timeoutMilliseconds: OwnedFile.loopMilliseconds))
    {
      return
    }
    try? Names.remove(path)
  }

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

extension Deadline {
  /// Nothing is waited for.
  static var now: Deadline { Deadline(timeoutMilliseconds: 0) }
}
