import CSystem

extension Syscalls {
  static func blockDeviceBytes(_ descriptor: Int32) throws(SystemError) -> UInt64 {
    var bytes: CUnsignedLongLong = 0
    _ = try run(.ioctl) { unsafe stubsave_blkgetsize64(descriptor, &bytes) }
    return bytes
  }

  static func sectorBytes(_ descriptor: Int32) throws(SystemError) -> Int32 {
    var bytes: Int32 = 0
    _ = try run(.ioctl) { unsafe stubsave_blksszget(descriptor, &bytes) }
    return bytes
  }

  static func isReadOnly(_ descriptor: Int32) throws(SystemError) -> Bool {
    var isReadOnly: Int32 = 0
    _ = try run(.ioctl) { unsafe stubsave_blkroget(descriptor, &isReadOnly) }
    return isReadOnly != 0
  }

  /// BLKZEROOUT: never a discard whose blocks may read back as anything.
  static func zero(
    _ descriptor: Int32, from offset: UInt64, bytes: UInt64
  ) throws(SystemError) {
    let range: [CUnsignedLongLong] = [offset, bytes]
    _ = try run(.ioctl) { unsafe stubsave_blkzeroout(descriptor, range) }
  }

  static func freeLoopDevice(_ control: Int32) throws(SystemError) -> Int32 {
    try run(.ioctl) { stubsave_loop_get_free(control) }
  }

  static func configureLoop(
    _ loop: Int32, backing: Int32, blockBytes: UInt32
  ) throws(SystemError) {
    _ = try run(.ioctl) { stubsave_loop_configure(loop, backing, blockBytes) }
  }

  static func lockFile(_ descriptor: Int32) throws(SystemError) {
    _ = try run(.flock) { stubsave_flock(descriptor, LOCK_EX | LOCK_NB) }
  }

  static func lockExclusively(_ descriptor: Int32) throws(SystemError) {
    try lockFile(descriptor)
    _ = try run(.lock) { stubsave_ofd_lock(descriptor) }
  }

  static func isLocked(_ descriptor: Int32) throws(SystemError) -> Bool {
    try run(.lock) { stubsave_ofd_is_locked(descriptor) } == 1
  }

  static func setReadLease(_ descriptor: Int32, _ isSet: Bool) throws(SystemError) {
    _ = try run(.lease) { stubsave_set_read_lease(descriptor, isSet ? 1 : 0) }
  }

  static func openTmpfs() throws(SystemError) -> Int32 {
    try run(.fsopen) { stubsave_fsopen_tmpfs() }
  }

  static func configureTmpfs(
    _ context: Int32, _ key: SystemPath, _ value: SystemPath
  ) throws(SystemError) {
    _ = try run(.fsconfig) {
      unsafe key.withCString { key in
        unsafe value.withCString { unsafe stubsave_fsconfig_string(context, key, $0) }
      }
    }
  }

  static func createTmpfs(_ context: Int32) throws(SystemError) {
    _ = try run(.fsconfig) { stubsave_fsconfig_create(context) }
  }

  static func mount(_ context: Int32) throws(SystemError) -> Int32 {
    try run(.fsmount) { stubsave_fsmount(context) }
  }

  static func inotify() throws(SystemError) -> Int32 { try run(.inotify) { stubsave_inotify() } }

  static func watch(_ inotify: Int32, _ directory: SystemPath) throws(SystemError) {
    _ = try run(.inotify) {
      unsafe directory.withCString { unsafe stubsave_inotify_watch(inotify, $0) }
    }
  }
}
