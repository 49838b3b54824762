import CSystem

/// What a block device says of itself.
public struct BlockDevice: Sendable {
  public let bytes: UInt64
  /// Least unit of access, in bytes.
  public let sectorBytes: UInt32
  public let isReadOnly: Bool
}

extension FileDescriptor {
  /// Of a descriptor of a block device.
  public func blockDevice() throws(SystemError) -> BlockDevice {
    BlockDevice(
      bytes: try Syscalls.blockDeviceBytes(number),
      sectorBytes: UInt32(try Syscalls.sectorBytes(number)),
      isReadOnly: try Syscalls.isReadOnly(number))
  }

  /// Makes a range of a block device read as zeros (BLKZEROOUT), without a discard that might
  /// bring anything back.
  ///
  /// - Parameters: multiples of the sector size, in bytes.
  public func zeroDevice(from offset: UInt64, bytes: UInt64) throws(SystemError) {
    try Syscalls.zero(number, from: offset, bytes: bytes)
  }

  /// Whether somebody has this regular file open for writing, as a lease shows (fcntl(2),
  /// F_SETLEASE). The lease is given back at once, at the latest when this is closed.
  ///
  /// - Returns: nil where a lease cannot tell: another user's file, or a file system without.
  public static func hasWriter(_ path: SystemPath) throws(SystemError) -> Bool? {
    let file = try open(path, .read)
    do throws(SystemError) {
      try Syscalls.setReadLease(file.number, true)
      return false
    } catch {
      return error.errno == Errno.wouldBlock ? true : nil
    }
  }
}
