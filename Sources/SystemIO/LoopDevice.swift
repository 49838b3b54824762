import CSystem

/// A block device over a file, that the kernel takes away when the last descriptor of the device
/// is closed: also when the process is killed.
public struct LoopDevice: ~Copyable {
  public let descriptor: FileDescriptor
  public let path: SystemPath

  /// Another process may take the device that was found free: so often a new one is looked for.
  private static let maxAttempts = 64

  /// - Parameters:
  ///   - backing: open for reading and writing; its length is a multiple of 4096 bytes, since a
  ///     loop device leaves out a last sector that is not whole.
  ///   - blockBytes: the sector size that the device shows, 512 to 4096.
  ///   - prepare: is told which device it is going to be, before the kernel announces it; false
  ///     gives it up (ECANCELED).
  public init(
    backing: borrowing FileDescriptor, blockBytes: UInt32 = 512,
    prepare: (FileStatus) -> Bool = { _ in true }
  ) throws(SystemError) {
    let control = try FileDescriptor.open(SystemPath(word: "/dev/loop-control"), .readWrite)
    var attempt = 0
    while true {
      attempt += 1
      let index = try Syscalls.freeLoopDevice(control.number)
      let path = SystemPath(word: "/dev/loop", number: UInt64(index))
      let device = try FileDescriptor.open(path, .readWrite)
      guard prepare(try device.status()) else {
        throw SystemError(.ioctl, errno: Errno.canceled)
      }
      do throws(SystemError) {
        try Syscalls.configureLoop(
          device.number, backing: backing.number, blockBytes: blockBytes)
      } catch {
        if error.errno == Errno.busy && attempt < LoopDevice.maxAttempts { continue }
        throw error
      }
      self.path = path
      descriptor = device
      return
    }
  }

  /// The device, of which the kernel takes the file away with the last descriptor.
  public consuming func take() -> FileDescriptor { descriptor }

  /// Waits until the kernel has taken the device away; whoever asks has closed it.
  ///
  /// - Returns: whether it has, before the deadline.
  public static func isGone(_ path: SystemPath, by deadline: Deadline) throws(SystemError) -> Bool {
    let name = path.directoryAndName.name
    let backing = SystemPath(word: "/sys/block/").joined(name, "/loop/backing_file")
    while true {
      do throws(SystemError) {
        _ = try FileStatus.of(backing)
      } catch {
        if error.errno == Errno.noEntry { return true }
        throw error
      }
      if deadline.hasPassed { return false }
      // sysfs tells nobody of this.
      _ = try Syscalls.poll(-1, events: 0, -1, timeoutMilliseconds: 2)
    }
  }
}
