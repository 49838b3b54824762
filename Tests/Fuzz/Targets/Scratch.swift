import Glibc

@testable import SystemIO

/// Descriptors with an input behind them. Where one cannot be had the run ends: that is no finding
/// of the input's, but it must not pass for a good run.
enum Scratch {
  /// Used again and again: making one takes longer than most runs.
  private static let number = makeFile()

  private static func makeFile() -> Int32 {
    do throws(SystemError) {
      return try Syscalls.memfdCreate("fuzz")
    } catch {
      finding("no file in memory")
    }
  }

  /// A regular file with these bytes, until the next call.
  static func file(_ bytes: RawSpan) -> FileDescriptor {
    let file = FileDescriptor(borrowing: number)
    do throws(SystemError) {
      try file.truncate(to: 0)
      try file.writeAll(bytes, at: 0)
      try file.rewind()
    } catch {
      finding("the file in memory cannot be written")
    }
    return file
  }

  /// The reading end of a pipe with these bytes, at most 64 KiB, and then its end.
  static func pipe(_ bytes: RawSpan) -> FileDescriptor {
    do throws(SystemError) {
      let (reader, writer) = try Syscalls.pipe()
      let target = FileDescriptor(owning: writer)
      try target.writeAll(bytes)
      return FileDescriptor(owning: reader)
    } catch {
      finding("no pipe")
    }
  }

  /// Two ends of a connection, neither of which ever waits. In the second one these bytes have been
  /// sent, and then nothing more; what is sent to it nobody reads.
  static func conversation(_ bytes: RawSpan) -> Conversation {
    var numbers: [Int32] = [-1, -1]
    let kind = Int32(SOCK_STREAM.rawValue | SOCK_CLOEXEC.rawValue | SOCK_NONBLOCK.rawValue)
    guard unsafe socketpair(AF_UNIX, kind, 0, &numbers) == 0 else { finding("no sockets") }
    let server = UnixSocket(FileDescriptor(owning: numbers[1]))
    do throws(SystemError) {
      let count = try server.send(bytes, passing: nil)
      require(count == bytes.byteCount, "an input too long for a socket")
    } catch {
      finding("a socket takes nothing")
    }
    server.finish()
    return Conversation(client: numbers[0], server: server.release())
  }

  struct Conversation: ~Copyable {
    /// To be taken over.
    let client: Int32
    let server: FileDescriptor
  }
}
