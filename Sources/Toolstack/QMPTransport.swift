import QEMUMonitor
import SystemIO

/// The byte channel between `qmp-proxy` and the QMP of a stubdomain's QEMU.
///
/// Another transport plugs in here, and nowhere else: a case of its own that owns what it holds (a
/// libxenvchan client, where the image's agent says in xenstore that it serves a *persistent*
/// channel), its three functions of `ByteChannel` below, and in `QMPProxy.connect` the choice which of
/// them is made. A vchan's event channel is readable for room as well as for bytes, so its `interest`
/// asks to read for either; its `take` and `send` clear that event before they look into the ring.
enum QMPTransport: ~Copyable, ByteChannel {
  /// libxl's own program, on a socket of its own (`ProxiedProgram`).
  case program(UnixSocket)

  borrowing func interest(toTake: Bool, toSend: Bool) -> Readable.Interest {
    switch self {
    case .program(let socket): socket.interest(toTake: toTake, toSend: toSend)
    }
  }

  mutating func take(
    into buffer: inout MutableRawSpan, from start: Int
  ) throws(SystemError) -> Int? {
    switch self {
    case .program(let socket): try socket.receive(into: &buffer, from: start)
    }
  }

  mutating func send(_ bytes: RawSpan) throws(SystemError) -> Int {
    switch self {
    case .program(let socket): try socket.send(bytes, passing: nil)
    }
  }
}
