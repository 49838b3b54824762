import SaveDisk
import SystemIO
import Transfer
import Vchan
import Xenstore

/// Between two vchans, should one have to be made after the other: in ms.
private let renewalPause: Int32 = 100

/// Serves clients until a signal ends it; throws if QEMU is gone, or something has failed.
func channel(_ arguments: ChannelArguments) throws(AgentFailure) {
  SignalsAsErrors.ofPipes()
  // Until the end: the other side and xenstore are told first.
  let signals: EndingSignals
  do throws(SystemError) {
    signals = try EndingSignals()
  } catch {
    throw AgentFailure(error, arguments.monitor)
  }
  guard
    let path = SystemPath(word: "device-model/", number: arguments.target).appending(
      [UInt8]("qmp-vchan".utf8))
  else { preconditionFailure() }
  let place = QMPChannel.Place(monitor: arguments.monitor, vchan: path)
  try introduceChannel(arguments.xenstore)
  do throws(ChannelEnd) {
    while true {
      do {
        var channel = try QMPChannel.open(place)
        try channel.run(signals: signals.number)
      }
      do throws(SystemError) {
        try MonotonicClock.pause(milliseconds: renewalPause)
      } catch {
        throw .system(error)
      }
    }
  } catch {
    withdrawChannel(arguments.xenstore)
    switch error {
    case .interrupted: return
    case .vchan(let error):
      throw AgentFailure(ExitStatus(error), path) { $0.append(error) }
    case .qemu(let error):
      throw AgentFailure(.qemuRefused, arguments.monitor) { $0.append(error) }
    case .system(let error): throw AgentFailure(error, arguments.monitor)
    }
  }
}

/// The stubdomain's own node (formats/rendezvous.md, section 7.4).
private let channelNode = SystemPath(word: "data/stubsave-channel")

/// Before the vchan's nodes, and over a connection that is gone by then: a harness may have but one.
private func introduceChannel(_ socket: SystemPath?) throws(AgentFailure) {
  var connection = try xenstoreConnection(socket)
  do throws(XenstoreError) {
    try connection.write(channelNode, [UInt8]("persistent 1".utf8))
  } catch {
    throw AgentFailure(.stubdomainFailed, channelNode) { $0.append(error) }
  }
}

private func withdrawChannel(_ socket: SystemPath?) {
  guard var connection = try? xenstoreConnection(socket) else { return }
  try? connection.remove(channelNode)
}

extension ExitStatus {
  init(_ error: VchanError) {
    switch error {
    case .cannotOpen(let error), .system(let error): self = ExitStatus(error)
    case .closed, .nonsense: self = .stubdomainFailed
    }
  }
}

extension PlainText {
  mutating func append(_ error: VchanError) {
    switch error {
    case .cannotOpen(let error):
      append("no vchan can be made (/dev/xen/gntalloc, /dev/xen/evtchn, xenstore): ")
      append(escaping: error.text)
    case .system(let error): append(escaping: error.text)
    case .closed: append("the vchan is closed")
    case .nonsense: append("the vchan's indices make no sense")
    }
  }
}
