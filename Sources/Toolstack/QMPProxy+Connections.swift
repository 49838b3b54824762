import QEMUMonitor
import SaveDisk
import SystemIO
import Transfer

/// libxl's connections, as they come and go.
extension QMPProxy {
  /// libxl has one at a time, but not only one libxl may run.
  static let maxClients = 16
  /// Where there is no room, who has been silent for so long makes some.
  static let idleMilliseconds: UInt64 = 1_000

  var hasRoom: Bool { clients.count < QMPProxy.maxClients || idleClient != nil }

  private var idleClient: ProxyClient? {
    let since = MonotonicClock.nanoseconds - QMPProxy.idleMilliseconds * 1_000_000
    return clients.first { client in
      client.lastHeard < since && client.isGreeted && client.waiting == nil
        && held?.client != client.id && !link.relay.owesReply(to: client.id)
        && guestStop.state != .held(client.id)
    }
  }

  mutating func accept() {
    while hasRoom {
      do throws(SystemError) {
        let socket = try listener.accept()
        if clients.count >= QMPProxy.maxClients, let idleClient { drop(idleClient, nil) }
        lastClient += 1
        let client = ProxyClient(lastClient, socket)
        clients.append(client)
        link.isNeeded()
        if let greeting = link.relay.greeting { greet(client, greeting) }
      } catch {
        if error.errno != Errno.wouldBlock { log(ToolError(error, options.socket).text) }
        return
      }
    }
  }

  func greet(_ client: ProxyClient, _ greeting: [UInt8]) {
    // That it has gone is told by its connection.
    try? client.greet(greeting)
  }

  /// What it says behind a command that is held, or that waits, waits, too.
  func mayTake(from client: ProxyClient) -> Bool {
    client.isGreeted && client.waiting == nil && held == nil
  }

  /// It has said something, there is room for what it is told, or it has gone.
  mutating func takeFromClient(_ client: ProxyClient) {
    do throws(MonitorError) {
      let hadUnsent = client.connection.unsentBytes > 0
      try client.connection.flush()
      if mayTake(from: client) {
        if try client.connection.fill() == .end { return drop(client, nil) }
        client.lastHeard = MonotonicClock.nanoseconds
        takeLines(of: client)
      } else if !hadUnsent {
        // Nothing else was waited for.
        drop(client, nil)
      }
    } catch {
      drop(client, error)
    }
  }

  mutating func heedDeadlines(of client: ProxyClient) {
    do throws(MonitorError) {
      try client.connection.flush()
      if !client.isGreeted && (client.greetBy.hasPassed || link.isOver) {
        try client.send(QMPRelay.error(nil, QMPProxy.words(notThere)))
        return drop(client, nil)
      }
      if let waiting = client.waiting, waiting.arrival.answerBy.hasPassed || link.isOver {
        client.waiting = nil
        try client.send(refusal(of: waiting.command, notThere))
      }
    } catch {
      drop(client, error)
    }
  }

  private var notThere: ToolError {
    ToolError(.stubdomainFailed, options.place.name) {
      $0.append("the stubdomain's QEMU cannot be reached")
    }
  }

  /// The disk stays for the next client. A guest that this one has stopped goes on by itself, unless somebody
  /// else takes it over.
  mutating func drop(_ client: ProxyClient, _ error: MonitorError?) {
    guard let index = clients.firstIndex(where: { $0 === client }) else { return }
    clients.remove(at: index)
    if let error {
      var text = PlainText()
      text.append("a connection of libxl's ends: ")
      if case .closed = error {
        text.append("it has gone, or takes nothing more")
      } else {
        text.append(error)
      }
      log(text)
    }
    if link.relay.isSaving(for: client.id) {
      var text = PlainText()
      text.append("the connection has ended in the middle of a save")
      log(text)
    }
    link.relay.forget(client.id)
    if held?.client == client.id { held = nil }
    guestStop.clientIsGone(client.id)
    noteGuestStop()
  }

  func client(_ id: UInt64?) -> ProxyClient? { clients.first { $0.id == id } }
}
