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
    _ name: DeviceName, isWriting: Bool, until deadline: Deadline, carrier: Int32,
    heed: () throws(WorkFailure) -> Void
  ) throws(WorkFailure) -> FileDescriptor {
    if let number = name.openFile { return FileDescriptor(borrowing: number) }
    guard let path = devices.appending(name.bytes) else { preconditionFailure() }
    let changes = try attempt(.system) { () throws(SystemError) in try DirectoryChanges(of: devices)
    }
    while true {
      if let disk = try openIfThere(path, isWriting: isWriting) { return disk }
      try heed()
      if deadline.hasPassed {
        throw WorkFailure(.device, .deadline) { text in
          text.append("the device ")
          text.append(escaping: path.bytes)
          text.append(" did not appear")
        }
      }
      try attempt(.system) { () throws(SystemError) in
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
      default: throw WorkFailure(.device, error)
      }
    }
  }
}
