import Codecs
import SaveDisk
import SystemIO
import Transfer

/// Streams standard input into a disk that dom0 has allocated, by the header that is on it.
func write(to path: SystemPath) throws(AgentFailure) {
  let disk: FileDescriptor
  do throws(SystemError) {
    let opened = try FileDescriptor.open(path, .readWrite)
    try opened.lockExclusively()
    _ = try FileDescriptor.standardInput.awaitFirstWriter()
    disk = opened
  } catch {
    throw AgentFailure(error, path)
  }
  do throws(FillError) {
    _ = try DiskFilling.fill(disk, from: .standardInput)
  } catch {
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
