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

  /// Opens the disk; waits for a block device that is being attached.
  ///
  /// - Parameters:
  ///   - isWriting: a save; else it is opened for reading only.
  ///   - carrier: what dom0 says meanwhile can end the wait.
  func open(
    _ name: DeviceName, isWriting: Bool, carrier: Int32
  ) throws(WorkFailure) -> FileDescriptor {
    if let number = name.openFile { return FileDescriptor(borrowing: number) }
    guard let path = devices.appending(name.bytes) else { preconditionFailure() }
    let deadline = Deadline(timeoutMilliseconds: AgentFiles.deviceTimeoutMilliseconds)
    do throws(SystemError) {
      let changes = try DirectoryChanges(of: devices)
      while true {
        if let disk = try openIfThere(path, isWriting: isWriting) { return disk }
        switch try changes.wait(until: deadline, or: carrier) {
        case .ready: try changes.forget()
        case .timedOut: throw SystemError(.open, errno: Errno.timedOut)
        case .interrupted: throw SystemError(.open, errno: Errno.interrupted)
        }
      }
    } catch {
      switch error.errno {
      case Errno.timedOut: throw WorkFailure(.deadline)
      case Errno.interrupted: throw WorkFailure.withdrawn
      default: throw WorkFailure(ExitStatus(error))
      }
    }
  }

  /// Nil while it is not there, or has no size yet.
  private func openIfThere(
    _ path: SystemPath, isWriting: Bool
  ) throws(SystemError) -> FileDescriptor? {
    do throws(SystemError) {
      let disk = try FileDescriptor.open(path, isWriting ? .readWrite : .read)
      if try disk.status().bytes == 0 { return nil }
      return disk
    } catch {
      switch error.errno {
      case Errno.noEntry, Errno.noDevice, Errno.noSuchDevice: return nil
      default: throw error
      }
    }
  }
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
