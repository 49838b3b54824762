import SystemIO

/// What QEMU writes its state into: a file in memory that it gets by descriptor and that cannot
/// grow beyond the limit while it writes.
///
/// Without the privilege for that (CAP_SYS_ADMIN, Linux 5.2) it has no limit of its own; the
/// limit then counts afterwards.
enum StateSink {
  static func make(maxBytes: UInt64) throws(SystemError) -> BoundedFile {
    do throws(SystemError) {
      return try BoundedFile(maxBytes: maxBytes)
    } catch {
      guard error.errno == Errno.notPermitted || error.errno == Errno.noSystemCall else {
        throw error
      }
    }
    return try BoundedFile()
  }
}

extension FileDescriptor {
  /// Whether a file begins as QEMU's device states do: "QEVM" (migration/savevm.c,
  /// QEMU_VM_FILE_MAGIC).
  func beginsWithQEMUMagic() throws(SystemError) -> Bool {
    guard try status().bytes >= 4 else { return false }
    return try bytes(count: 4).elementsEqual("QEVM".utf8)
  }
}
