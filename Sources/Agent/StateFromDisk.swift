import Codecs
import Rendezvous
import SaveDisk
import SystemIO
import Transfer

/// The reading half: a state that has been verified as a whole, in memory.
struct StateFromDisk: ~Copyable {
  /// The state and nothing else, its offset at the start.
  let file: FileDescriptor
  let bytes: UInt64

  /// Reads the disk of transfer `id`, each byte once.
  ///
  /// - Parameter maxBytes: of state.
  static func read(
    _ disk: borrowing FileDescriptor, _ id: Bytes16, maxBytes: UInt64
  ) throws(WorkFailure) -> StateFromDisk {
    let memory = try attempt { () throws(SystemError) in try FileDescriptor.inMemory() }
    var options = ReadOptions()
    options.limits = ReaderLimits.forState(maxBytes: maxBytes)
    let verdict = Door.open(
      disk, task: .extract(.qemu), options: options,
      output: DoorOutput(FileDescriptor(borrowing: memory.number)))
    if let failure = verdict.failure { throw WorkFailure(ExitStatus(failure)) }
    // A mistake of dom0's: another disk than the one that it offered.
    guard let header = verdict.facts.header?.header, header.transferID == id,
      header.direction == .restore
    else { throw WorkFailure(.wouldDestroy) }
    if verdict.outputBytes > maxBytes { throw WorkFailure(.overLimit) }
    do throws(SystemError) {
      guard try memory.beginsWithQEMUMagic() else { throw SystemError(.read, errno: Errno.invalid) }
      try memory.rewind()
    } catch {
      throw WorkFailure(error.errno == Errno.invalid ? .corrupt : ExitStatus(error))
    }
    return StateFromDisk(file: memory, bytes: verdict.outputBytes)
  }

  private init(file: consuming FileDescriptor, bytes: UInt64) {
    self.file = file
    self.bytes = bytes
  }

  consuming func takeFile() -> FileDescriptor { file }
}
