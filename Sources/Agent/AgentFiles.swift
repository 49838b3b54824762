import Rendezvous
import SaveDisk
import SystemIO
import Transfer

/// Where the agent finds the disk that an offer names.
struct AgentFiles {
  /// Directory of the block devices, `/dev` in a stubdomain.
  let devices: SystemPath

  /// How long a device may take to appear after its offer (formats/rendezvous.md, section 4).
  static let deviceTimeoutMilliseconds: UInt64 = 20_000
  /// A device that is there before it has a size may get it without a change of its node.
  private static let lookTimeoutMilliseconds: UInt64 = 250

  /// Opens the disk; waits for a block device that is being attached.
  ///
  /// - Parameters:
  ///   - isWriting: a save; else it is opened for reading only.
  ///   - carrier: ends a wait early, so that `heed` is asked.
  ///   - heed: is asked before each wait; its error is the end.
  func open(
    _ name: DeviceName, isWriting: Bool, carrier: Int32,
    heed: () throws(WorkFailure) -> Void
  ) throws(WorkFailure) -> FileDescriptor {
    if let number = name.openFile { return FileDescriptor(borrowing: number) }
    guard let path = devices.appending(name.bytes) else { preconditionFailure() }
    let deadline = Deadline(timeoutMilliseconds: AgentFiles.deviceTimeoutMilliseconds)
    let changes = try attempt { () throws(SystemError) in try DirectoryChanges(of: devices) }
    while true {
      if let disk = try openIfThere(path, isWriting: isWriting) { return disk }
      try heed()
      if deadline.hasPassed { throw WorkFailure(.deadline) }
      try attempt { () throws(SystemError) in
        let look = Deadline(timeoutMilliseconds: AgentFiles.lookTimeoutMilliseconds)
        if try changes.wait(until: look, or: carrier) == .ready { try changes.forget() }
      }
    }
  }

  /// Nil while it is not there, or has no size yet.
  private func openIfThere(
    _ path: SystemPath, isWriting: Bool
  ) throws(WorkFailure) -> FileDescriptor? {
    do throws(SystemError) {
      let disk = try FileDescriptor.open(path, isWriting ? .readWrite : .read)
      if try disk.status().bytes == 0 { return nil }
      return disk
    } catch {
      switch error.errno {
      case Errno.noEntry, Errno.noDevice, Errno.noSuchDevice: return nil
      default: throw WorkFailure(ExitStatus(error))
      }
    }
  }
}

/// Runs `body`; an error of the system becomes one of the work.
func attempt<R: ~Copyable>(
  _ body: () throws(SystemError) -> R
) throws(WorkFailure) -> R {
  do throws(SystemError) { return try body() } catch { throw WorkFailure(ExitStatus(error)) }
}

/// Why the agent's work came to nothing.
struct WorkFailure: Error {
  let status: ExitStatus
  /// The capacity that a disk must have, if one that is larger would do.
  var neededBytes: UInt64 = 0
  /// dom0 has said something else meanwhile; nobody waits for an answer.
  var isWithdrawn = false

  init(_ status: ExitStatus) { self.status = status }

  static var withdrawn: WorkFailure {
    var failure = WorkFailure(.stubdomainFailed)
    failure.isWithdrawn = true
    return failure
  }
}
