import Rendezvous
import SaveDisk
import SystemIO
import Transfer

/// How long dom0 may take to offer a state: libxl gives a stubdomain 30 s to start, and dom0 offers
/// before it boots.
private let offerTimeoutMilliseconds: UInt64 = 28_000

/// Becomes the program that is given; returns only by an error.
func load(_ arguments: LoadArguments) throws(AgentFailure) {
  SignalsAsErrors.ofPipes()
  try requireCarrier(arguments.carrier)
  let deadline = Deadline(timeoutMilliseconds: offerTimeoutMilliseconds)
  let files = AgentFiles(devices: arguments.devices)
  let program = arguments.program[0]
  let state: FileDescriptor
  do throws(LoadFailure) {
    switch arguments.carrier {
    case .openFile(let number):
      var loader = AgentLoader(
        carrier: SocketCells(FileDescriptor(owning: number)), files: files, deadline: deadline)
      state = try loader.run(maxStateBytes: arguments.maxStateBytes)
    case .xenstore(let socket):
      var loader = AgentLoader(
        carrier: try loaderCells(socket), files: files, deadline: deadline)
      state = try loader.run(maxStateBytes: arguments.maxStateBytes)
    }
  } catch {
    throw AgentFailure(error, program)
  }
  // The carrier is closed by now: it could have had the very number that QEMU is to find.
  do throws(SystemError) {
    try Program.become(program, arguments.program, giving: state, as: arguments.descriptor)
  } catch {
    throw AgentFailure(error, program)
  }
}

private func loaderCells(_ socket: SystemPath?) throws(LoadFailure) -> XenstoreCells {
  do throws(AgentFailure) {
    return try xenstoreCells(socket)
  } catch {
    throw .connection(error)
  }
}

extension AgentFailure {
  init(_ error: LoadFailure, _ program: SystemPath) {
    switch error {
    case .connection(let failure): self = failure
    case .carrier(let error):
      self.init(.stubdomainFailed, program) { $0.append(error) }
    case .system(let error): self.init(error, program)
    case .deadline:
      self.init(.deadline, program) { $0.append("not started: dom0 has offered no state") }
    case .work(let failure):
      self.init(failure.status, program) {
        $0.append("not started: ")
        $0.append(failure.text)
      }
    }
  }
}
