import CSystem

extension Syscalls {
  /// openat2(2), with `root` as the root directory.
  static func openInRoot(
    _ root: Int32, _ path: SystemPath, _ flags: Int32
  ) throws(SystemError) -> Int32 {
    try run(.open) { unsafe path.withCString { unsafe stubsave_openat_in_root(root, $0, flags) } }
  }

  static func stat(
    _ name: SystemPath, in directory: Int32, flags: Int32
  ) throws(SystemError) -> CSystem.stat {
    var status = CSystem.stat()
    _ = try run(.stat) {
      unsafe name.withCString { unsafe fstatat(directory, $0, &status, flags) }
    }
    return status
  }

  /// Whether the directory itself could be changed (faccessat(2)).
  static func requireWritable(_ directory: Int32) throws(SystemError) {
    _ = try run(.access) {
      unsafe SystemPath(word: ".").withCString { unsafe faccessat(directory, $0, W_OK, 0) }
    }
  }

  /// Of a symbolic link, the link.
  static func link(
    _ name: SystemPath, to other: SystemPath, in directory: Int32
  ) throws(SystemError) {
    _ = try run(.linkat) {
      unsafe name.withCString { from in
        unsafe other.withCString { to in
          unsafe CSystem.linkat(directory, from, directory, to, 0)
        }
      }
    }
  }

  static func rename(
    _ name: SystemPath, to other: SystemPath, in directory: Int32
  ) throws(SystemError) {
    _ = try run(.renameat) {
      unsafe name.withCString { from in
        unsafe other.withCString { to in unsafe renameat(directory, from, directory, to) }
      }
    }
  }

  static func exchange(
    _ name: SystemPath, with other: SystemPath, in directory: Int32
  ) throws(SystemError) {
    _ = try run(.renameat) {
      unsafe name.withCString { name in
        unsafe other.withCString { unsafe stubsave_exchange(directory, name, $0) }
      }
    }
  }

  static func unlink(_ name: SystemPath, in directory: Int32) throws(SystemError) {
    _ = try run(.unlinkat) {
      unsafe name.withCString { unsafe CSystem.unlinkat(directory, $0, 0) }
    }
  }

  static func flock(_ descriptor: Int32, isShared: Bool) throws(SystemError) {
    _ = try run(.flock) { stubsave_flock(descriptor, (isShared ? LOCK_SH : LOCK_EX) | LOCK_NB) }
  }

  static func lockAsWriter(_ descriptor: Int32) throws(SystemError) {
    _ = try run(.lock) { stubsave_ofd_lock(descriptor) }
  }
}
