import Codecs
import SaveDisk
import SystemIO
import Transfer

/// Streams standard input into a disk that dom0 has allocated, by the header that is on it.
func write(to path: SystemPath) throws(AgentFailure) {
  let header: DiskHeader.Parsed
  let disk: FileDescriptor
  do throws(SystemError) {
    let opened = try FileDescriptor.open(path, .readWrite)
    try opened.lockExclusively()
    disk = opened
  } catch {
    throw AgentFailure(error, path)
  }
  switch EmptyDisk.probe(disk) {
  case .empty(let parsed): header = parsed
  case .used:
    throw AgentFailure(.wouldDestroy, path) { $0.append("holds a log already") }
  case .otherSize(let found, let capacity):
    throw AgentFailure(.wouldDestroy, path) {
      $0.appendOtherSize(foundBytes: found, capacityBytes: capacity)
    }
  case .failed(let failure):
    throw AgentFailure(ExitStatus(failure), path) { $0.append(failure) }
  }
  var writer = DiskWriter(
    header: header, store: FileStore(disk), setting: .auto, writesHeader: false)
  do throws(WriteError) {
    try writer.beginStream(.qemu)
    try writer.write(from: .standardInput)
    try writer.endStream()
    _ = try writer.commit()
  } catch {
    writer.abandon(after: error)
    throw AgentFailure(ExitStatus(error), path) { $0.append(error) }
  }
}

/// Verifies the whole disk into memory, then writes the state to standard output.
func read(from path: SystemPath) throws(AgentFailure) {
  let failure: DoorFailure?
  do throws(SystemError) {
    let disk = try FileDescriptor.open(path, .read)
    let memory = DoorOutput(try FileDescriptor.inMemory())
    let verdict = Door.open(
      disk, task: .extract(.qemu), options: ReadOptions(), output: memory)
    failure = verdict.failure
    if failure == nil { try memory.copy(verdict, to: .standardOutput) }
  } catch {
    throw AgentFailure(error, path)
  }
  if let failure { throw AgentFailure(ExitStatus(failure), path) { $0.append(failure) } }
}
