import CSystem

/// What a descriptor refers to.
public struct FileStatus: Sendable {
  public enum Kind: Sendable {
    case regular, blockDevice, characterDevice, fifo, socket, directory, symbolicLink, other
  }

  public let kind: Kind
  /// Length of a regular file, size of a block device; 0 of anything else.
  public let bytes: UInt64
  /// Whose it is: a user's number.
  public let owner: UInt32
  /// Who may do what with it, as chmod(2) has it, with the sticky bit and its like.
  public let permissions: UInt32
  /// A symbolic link itself; `kind` is `.other` then.
  public let isLink: Bool
  /// Device and inode, the file's identity.
  public let device: UInt64
  public let inode: UInt64
  /// Which device a device file stands for, as "major:minor" has it; 0:0 of anything else.
  public let majorMinor: (major: UInt32, minor: UInt32)

  /// The same file, under whatever name.
  public func isSameFile(as other: FileStatus) -> Bool {
    device == other.device && inode == other.inode
  }

  /// Of what `path` leads to. The size of a block device is left out.
  public static func of(
    _ path: SystemPath, followingLinks: Bool = true
  ) throws(SystemError) -> FileStatus {
    FileStatus(
      try Syscalls.stat(path, flags: followingLinks ? 0 : AT_SYMLINK_NOFOLLOW),
      blockDeviceBytes: 0)
  }

  init(_ status: stat, blockDeviceBytes: UInt64) {
    switch Int32(status.st_mode) & S_IFMT {
    case S_IFREG: kind = .regular
    case S_IFBLK: kind = .blockDevice
    case S_IFCHR: kind = .characterDevice
    case S_IFIFO: kind = .fifo
    case S_IFSOCK: kind = .socket
    case S_IFDIR: kind = .directory
    case S_IFLNK: kind = .symbolicLink
    default: kind = .other
    }
    switch kind {
    case .regular: bytes = UInt64(status.st_size)
    default: bytes = blockDeviceBytes
    }
    owner = status.st_uid
    permissions = UInt32(status.st_mode) & 0o7777
    isLink = Int32(status.st_mode) & S_IFMT == S_IFLNK
    device = UInt64(status.st_dev)
    inode = UInt64(status.st_ino)
    // Linux's 64-bit dev_t (sys/sysmacros.h).
    let rdev = UInt64(status.st_rdev)
    majorMinor = (
      UInt32(rdev >> 8 & 0xFFF | rdev >> 32 & 0xFFFF_F000),
      UInt32(rdev & 0xFF | rdev >> 12 & 0xFFFF_FF00)
    )
  }
}

extension FileDescriptor {
  public func status() throws(SystemError) -> FileStatus {
    let status = try Syscalls.fstat(number)
    let isBlockDevice = Int32(status.st_mode) & S_IFMT == S_IFBLK
    return FileStatus(
      status, blockDeviceBytes: isBlockDevice ? try Syscalls.blockDeviceBytes(number) : 0)
  }
}
