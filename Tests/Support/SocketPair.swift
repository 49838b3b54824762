import Foundation
import SystemIO

/// Two connected sockets of this process: one for the code under test, one for the test.
public final class SocketPair: @unchecked Sendable {
  /// For `UnixSocket`: does not block. Taken over by that.
  public let client: Int32
  private let server: FileHandle

  public init() throws {
    var numbers: [Int32] = [0, 0]
    let kind = Int32(SOCK_STREAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue)
    guard unsafe socketpair(AF_UNIX, kind, 0, &numbers) == 0,
      fcntl(numbers[0], F_SETFL, O_NONBLOCK) == 0
    else { throw POSIXError(.EIO) }
    client = numbers[0]
    server = FileHandle(fileDescriptor: numbers[1], closeOnDealloc: true)
  }

  /// Puts into the socket what the code under test will find; must fit into it at once.
  public func say(_ text: String) throws { try server.write(contentsOf: Data(text.utf8)) }

  /// The same from another thread, of any length; ends when nobody reads any more.
  public func sayInBackground(_ pieces: [Data]) {
    let number = server.fileDescriptor
    Thread.detachNewThread { [self] in
      for piece in pieces {
        var rest = piece
        while !rest.isEmpty {
          let count = unsafe rest.withUnsafeBytes {
            unsafe send(number, $0.baseAddress, $0.count, Int32(MSG_NOSIGNAL))
          }
          if count <= 0 { return }
          rest = rest.dropFirst(count)
        }
      }
      _ = self
    }
  }

  public func hangUp() { try? server.close() }

  /// What the code under test has sent so far.
  public func heard() -> String {
    var buffer = [UInt8](repeating: 0, count: 65_536)
    let count = unsafe recv(
      server.fileDescriptor, &buffer, buffer.count, Int32(MSG_DONTWAIT))
    return String(decoding: buffer.prefix(max(count, 0)), as: UTF8.self)
  }
}
