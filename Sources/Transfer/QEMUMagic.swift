import SystemIO

extension FileDescriptor {
  /// Whether a file begins as QEMU's device states do: "QEVM" (migration/savevm.c,
  /// QEMU_VM_FILE_MAGIC).
  public func beginsWithQEMUMagic() throws(SystemError) -> Bool {
    guard try status().bytes >= 4 else { return false }
    return try bytes(count: 4) == [0x51, 0x45, 0x56, 0x4D]
  }
}
