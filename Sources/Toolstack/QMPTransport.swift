import QEMUMonitor
import SystemIO
import Vchan

/// The byte channel between `qmp-proxy` and the QMP of a stubdomain's QEMU.
///
/// Which of the two is used is chosen in `QMPProxy.connect`.
struct QMPTransport: ~Copyable, ByteChannel {
  private let socket: UnixSocket?
  private var client: VchanClient?

  /// libxl's own program, on a socket of its own (`ProxiedProgram`).
  static func program(_ socket: consuming UnixSocket) -> QMPTransport {
    QMPTransport(socket: socket, client: nil)
  }

  /// The vchan itself, where the image's agent says in xenstore that its channel is *persistent*
  /// (formats/rendezvous.md, section 7.4).
  static func vchan(_ client: consuming VchanClient) -> QMPTransport {
    QMPTransport(socket: nil, client: client)
  }

  borrowing func interest(toTake: Bool, toSend: Bool) -> Readable.Interest {
    switch client {
    case .some(let client):
      // An event is told once, and whoever looks at the ring takes it: what is there already has none. The
      // descriptor is always writable (drivers/xen/evtchn.c), which ends the wait at once.
      let isReady = (toTake && client.hasBytes) || (toSend && client.hasRoom) || !client.isOpen
      return Readable.Interest(client.number, toRead: true, toWrite: isReady)
    case .none: break
    }
    switch socket {
    case .some(let socket): return socket.interest(toTake: toTake, toSend: toSend)
    case .none: preconditionFailure("a transport is one of the two")
    }
  }

  mutating func take(
    into buffer: inout MutableRawSpan, from start: Int
  ) throws(SystemError) -> Int? {
    switch socket {
    case .some(let socket): return try socket.receive(into: &buffer, from: start)
    case .none: break
    }
    do throws(VchanError) {
      try client?.takeEvent()
      let count = try client?.read(into: &buffer, from: start) ?? 0
      return count == 0 ? nil : count
    } catch {
      if error == .closed { return 0 }
      throw SystemError(.receive, error)
    }
  }

  mutating func send(_ bytes: RawSpan) throws(SystemError) -> Int {
    switch socket {
    case .some(let socket): return try socket.send(bytes, passing: nil)
    case .none: break
    }
    do throws(VchanError) {
      return try client?.write(bytes) ?? 0
    } catch {
      throw SystemError(.send, error)
    }
  }
}

extension SystemError {
  /// A stubdomain that writes what no ring can have is as good as none.
  init(_ call: SystemCall, _ error: VchanError) {
    switch error {
    case .cannotOpen(let error), .system(let error): self = error
    case .closed: self.init(call, errno: Errno.brokenPipe)
    case .nonsense: self.init(call, errno: Errno.protocolError)
    }
  }
}
