import SystemIO

extension FileDescriptor {
  /// Whether a file begins as QEMU's device states do: "QEVM" (migration/savevm.c,
  /// QEMU_VM_FILE_MAGIC).
  public func beginsWithQEMUMagic(from start: UInt64 = 0) throws(SystemError) -> Bool {
    let bytes = try status().bytes
    guard bytes >= 4 && start <= bytes - 4 else { return false }
    return try self.bytes(from: start, count: 4) == [0x51, 0x45, 0x56, 0x4D]
  }

  /// Whether a configuration section (QEMU_VM_CONFIGURATION) follows a state's magic and version. Such
  /// a state and QEMU's setting `send-configuration` must agree, or it loads nothing.
  public func hasConfigurationSection() throws(SystemError) -> Bool {
    let bytes = try status().bytes
    if bytes <= 8 { return false }
    return try self.bytes(from: 8, count: 1) == [0x07]
  }
}
