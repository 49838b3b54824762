/// Waits for files to come, or to change what they are, in a directory: devices that are attached.
public struct DirectoryChanges: ~Copyable {
  private let descriptor: FileDescriptor

  /// From now on; what is there already has to be looked for afterwards.
  public init(of directory: SystemPath) throws(SystemError) {
    let descriptor = FileDescriptor(owning: try Syscalls.inotify())
    try Syscalls.watch(descriptor.number, directory)
    self.descriptor = descriptor
  }

  /// - Parameter other: a descriptor that ends the wait, as `.interrupted`; nil for none.
  public borrowing func wait(
    until deadline: Deadline, or other: Int32?
  ) throws(SystemError) -> UnixSocket.Readiness {
    try UnixSocket.wait(
      for: descriptor.number, toWrite: false, until: deadline, signals: other)
  }

  /// Takes what has been told, so that `wait` waits again.
  public borrowing func forget() throws(SystemError) {
    var buffer = AlignedBuffer(byteCount: 4096)
    while true {
      do throws(SystemError) {
        var target = buffer.mutableBytes(0..<4096)
        if try descriptor.readNow(into: &target, from: 0) == 0 { return }
      } catch {
        if error.errno == Errno.wouldBlock { return }
        throw error
      }
    }
  }
}
