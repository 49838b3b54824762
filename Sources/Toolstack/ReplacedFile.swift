import SaveDisk
import SystemIO
import Transfer

/// A file whose name is about to go to another: nobody is at work with it, as far as locks and a lease
/// can tell, and nobody who locks it first begins to be meanwhile.
///
/// Whoever writes a file that has lost its name goes on with one that nobody finds.
struct ReplacedFile: ~Copyable {
  /// Nil if there is none, or it is not for us to read: whoever may replace it need not be able to.
  private let file: FileDescriptor?

  /// Another command has it for a moment, to put a new file in the same place.
  private static let momentMilliseconds: UInt64 = 1_000
  private static let pauseMilliseconds: Int32 = 5

  /// - Throws: `.busy`.
  init(_ path: SystemPath) throws(ToolError) {
    let deadline = Deadline(timeoutMilliseconds: ReplacedFile.momentMilliseconds)
    while true {
      guard let file = try ReplacedFile.open(path) else { break }
      if try ReplacedFile.isFree(file, path) {
        // Only with the lock: whoever has had it before may have put another in its place.
        guard ReplacedFile.isAt(path, file) else { continue }
        let hasWriter = try attempt(path) { () throws(SystemError) in
          try FileDescriptor.hasWriter(path)
        }
        if hasWriter == true { throw ReplacedFile.busy(path) }
        self.file = consume file
        return
      }
      let isOwned = try attempt(path) { () throws(SystemError) in try file.isLocked() }
      if isOwned || deadline.hasPassed { throw ReplacedFile.busy(path) }
      try attempt(path) { () throws(SystemError) in
        try MonotonicClock.pause(milliseconds: ReplacedFile.pauseMilliseconds)
      }
    }
    file = nil
  }

  /// Until here it is held: the compiler may end what nobody uses any more.
  consuming func end() {}

  private static func open(_ path: SystemPath) throws(ToolError) -> FileDescriptor? {
    guard case .regular? = try DiskCommands.existing(path) else { return nil }
    do throws(SystemError) {
      return try FileDescriptor.open(path, .read)
    } catch {
      switch error.errno {
      case Errno.noEntry, Errno.accessDenied, Errno.notPermitted: return nil
      default: throw ToolError(error, path)
      }
    }
  }

  /// Locked by us now.
  private static func isFree(
    _ file: borrowing FileDescriptor, _ path: SystemPath
  ) throws(ToolError) -> Bool {
    do throws(SystemError) {
      if try file.isLocked() { return false }
      try file.lockForAMoment()
      return true
    } catch {
      if error.errno == Errno.wouldBlock { return false }
      throw ToolError(error, path)
    }
  }

  /// Links are followed, as whoever has opened it by that name did.
  private static func isAt(_ path: SystemPath, _ file: borrowing FileDescriptor) -> Bool {
    guard let now = try? FileStatus.of(path), let ours = try? file.status() else { return false }
    return now.isSameFile(as: ours)
  }

  private static func busy(_ path: SystemPath) -> ToolError {
    ToolError(.busy, path) {
      $0.append("another program writes it or has locked it; --force does not help")
    }
  }
}
