/// A Unix socket that others connect to; for its owner alone (0600). Its name goes with it.
public struct UnixListener: ~Copyable {
  private let descriptor: FileDescriptor
  private let path: SystemPath

  /// - Parameter path: what is there already is removed.
  public init(_ path: SystemPath) throws(SystemError) {
    let socket = FileDescriptor(owning: try Syscalls.socket())
    do throws(SystemError) {
      try Names.remove(path)
    } catch {
      if error.errno != Errno.noEntry { throw error }
    }
    try Syscalls.listen(socket.number, path)
    descriptor = socket
    self.path = path
  }

  public var number: Int32 { descriptor.number }

  /// The next that has connected; EAGAIN if nobody has.
  public borrowing func accept() throws(SystemError) -> UnixSocket {
    UnixSocket(FileDescriptor(owning: try Syscalls.accept(descriptor.number)))
  }

  deinit { try? Names.remove(path) }
}
