import SaveDisk
import SystemIO
import Transfer

extension TransferDisk {
  /// - Parameter isOwn: of this command, and not of a file that the user has named.
  static func behindLoopDevice(
    _ file: consuming FileDescriptor, _ header: DiskHeader, _ bytes: UInt64, isOwn: Bool,
    _ request: Request
  ) throws(ToolError) -> TransferDisk {
    guard request.place == .stubdomain else {
      return try behindLoopDevice(file, header, isOwn: isOwn) { _ in nil }
    }
    // Until the device is taken: else another command could find the same one free.
    let turn = try DiskTurn.take()
    let disk = try behindLoopDevice(file, header, isOwn: isOwn) { status throws(ToolError) in
      // Before the kernel announces the device: udevd is to find it there.
      try DiskClaim.make(status, bytes: bytes, maxSumBytes: request.maxSumBytes, turn)
    }
    turn.end()
    return disk
  }

  private static func behindLoopDevice(
    _ file: consuming FileDescriptor, _ header: DiskHeader, isOwn: Bool,
    _ claiming: (FileStatus) throws(ToolError) -> DiskClaim?
  ) throws(ToolError) -> TransferDisk {
    var claim: DiskClaim?
    let loop = try makeLoop(over: file, &claim, claiming)
    let path = loop.path
    return TransferDisk(
      path: path, header: header, device: loop.take(), kept: file, given: nil,
      claim: claim.take(), isOwn: isOwn, wipesDevice: false)
  }

  private static func makeLoop(
    over file: borrowing FileDescriptor, _ claim: inout DiskClaim?,
    _ claiming: (FileStatus) throws(ToolError) -> DiskClaim?
  ) throws(ToolError) -> LoopDevice {
    var refusal: ToolError?
    var minor: UInt32?
    do throws(SystemError) {
      let loop = try LoopDevice(backing: file) { status in
        minor = status.majorMinor.minor
        // One that somebody else has taken meanwhile.
        claim = nil
        do throws(ToolError) {
          claim = try claiming(status)
          return true
        } catch {
          refusal = error
          return false
        }
      }
      if let minor, let identity = LoopIdentity.current(minor: minor) {
        claim?.isUsed(by: identity)
      }
      return loop
    } catch {
      throw refusal ?? noLoopDevice(error)
    }
  }

  static func onLoopDevice<R: ~Copyable>(
    _ body: () throws(SystemError) -> R
  ) throws(ToolError) -> R {
    do throws(SystemError) { return try body() } catch { throw noLoopDevice(error) }
  }

  private static func noLoopDevice(_ error: SystemError) -> ToolError {
    ToolError(ExitStatus(error), nil) {
      $0.append("cannot make a disk behind a loop device: ")
      $0.append(error)
      $0.append("; run as root, or name a disk with --disk")
    }
  }
}
