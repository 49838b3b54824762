import QEMUMonitor
import Rendezvous
import SaveDisk
import SystemIO
import Transfer
import Xenstore

/// Returns when the carrier is gone, which is the ordinary end; throws if QEMU is, or something
/// has failed.
func serve(_ arguments: ServeArguments) throws(AgentFailure) {
  SignalsAsErrors.ofPipes()
  try requireCarrier(arguments.carrier)
  // Until the end, because a guest may have to go on first.
  let signals: EndingSignals
  do throws(SystemError) {
    signals = try EndingSignals()
  } catch {
    throw AgentFailure(error, arguments.monitor)
  }
  let qemu: QEMUSide
  do throws(MonitorError) {
    qemu = try QEMUSide.connect(
      to: arguments.monitor, maxStateBytes: arguments.maxStateBytes,
      timeoutMilliseconds: arguments.startMilliseconds, signals: signals.number)
  } catch {
    throw AgentFailure(WorkFailure(error), arguments.monitor)
  }
  let files = AgentFiles(devices: arguments.devices)
  let end: ServiceEnd
  switch arguments.carrier {
  case .openFile(let number):
    var service = AgentService(
      carrier: SocketCells(FileDescriptor(owning: number)), qemu: qemu, files: files,
      maxStateBytes: arguments.maxStateBytes, signals: signals.number)
    end = service.run()
  case .xenstore(let socket):
    var service = AgentService(
      carrier: try xenstoreCells(socket), qemu: qemu, files: files,
      maxStateBytes: arguments.maxStateBytes, signals: signals.number)
    end = service.run()
  }
  switch end {
  case .carrier(.gone), .interrupted: return
  case .carrier(.system(let error)), .system(let error):
    throw AgentFailure(error, arguments.monitor)
  case .carrier(.xenstore(let error)):
    throw AgentFailure(.stubdomainFailed, arguments.monitor) { $0.append(error) }
  case .qemu(let error): throw AgentFailure(WorkFailure(error), arguments.monitor)
  case .toldOf(let status): throw AgentFailure(status: status, message: PlainText())
  }
}

/// Sees that an open file that is named as the carrier is one, before another can take its number.
func requireCarrier(_ carrier: CarrierArgument) throws(AgentFailure) {
  guard case .openFile(let number) = carrier, !UnixSocket.isPacketSocket(number) else { return }
  throw AgentFailure(.usage, SystemPath(word: "fd:", number: UInt64(number))) {
    $0.append("is no open socket of the kind SOCK_SEQPACKET")
  }
}

/// The cells as the stubdomain has them; paths begin at its own directory.
func xenstoreCells(_ socket: SystemPath?) throws(AgentFailure) -> XenstoreCells {
  var connection = try xenstoreConnection(socket)
  introduce(&connection)
  do throws(CellError) {
    return try XenstoreCells.watching(
      SystemPath(word: "stubsave/offer"), saying: SystemPath(word: "stubsave/answer"),
      over: connection)
  } catch {
    throw AgentFailure(.stubdomainFailed, socket ?? xenbus) { $0.append(error) }
  }
}

/// Where a stubdomain has xenstore.
let xenbus = SystemPath(word: "/dev/xen/xenbus")

/// - Parameter socket: nil is `xenbus`.
func xenstoreConnection(_ socket: SystemPath?) throws(AgentFailure) -> XenstoreConnection {
  let deadline = Deadline(timeoutMilliseconds: XenstoreRequests.timeoutMilliseconds)
  do throws(XenstoreError) {
    if let socket { return try XenstoreConnection.connect(to: socket, deadline: deadline) }
    return try XenstoreConnection.openDevice(xenbus, deadline: deadline)
  } catch {
    throw AgentFailure(.stubdomainFailed, socket ?? xenbus) { $0.append(error) }
  }
}

/// Says to people in dom0 which agent this is: `stubsave list` shows it. Nothing depends on it.
private func introduce(_ connection: inout XenstoreConnection) {
  var text = PlainText()
  text.append("rendezvous ")
  text.append(UInt64(RendezvousVersion.current))
  try? connection.write(SystemPath(word: "data/stubsave"), text.bytes)
}
