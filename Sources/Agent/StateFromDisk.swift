import Codecs
import Rendezvous
import SaveDisk
import SystemIO
import Transfer

/// The reading half: a state that has been verified as a whole, in memory.
struct StateFromDisk: ~Copyable {
  /// The state and nothing else.
  let file: FileDescriptor
  let bytes: UInt64
  /// What wrote it, in lines; empty if the disk does not say.
  let metadata: [UInt8]

  /// Reads the disk of transfer `id`, each byte of the state once.
  ///
  /// - Parameter maxBytes: of state.
  static func read(
    _ disk: borrowing FileDescriptor, _ id: Bytes16, maxBytes: UInt64
  ) throws(WorkFailure) -> StateFromDisk {
    let memory = try attempt(.system) { () throws(SystemError) in try FileDescriptor.inMemory() }
    var options = ReadOptions()
    options.limits = ReaderLimits.forState(maxBytes: maxBytes)
    let verdict = try extract(.qemu, from: disk, options, to: memory)
    // A mistake of dom0's: another disk than the one that it offered.
    guard let header = verdict.facts.header?.header, header.transferID == id,
      header.direction == .restore
    else { throw WorkFailure(.foreign, .wouldDestroy) { $0.append("not the disk of the offer") } }
    if verdict.outputBytes > maxBytes {
      throw WorkFailure.large(stateBytes: verdict.outputBytes)
    }
    let isState = try attempt(.system) { () throws(SystemError) in
      try memory.beginsWithQEMUMagic()
    }
    guard isState else {
      throw WorkFailure(.disk, .corrupt) { $0.append("what is on the disk is no device state") }
    }
    return StateFromDisk(
      file: memory, bytes: verdict.outputBytes, metadata: try metadata(verdict, disk, options))
  }

  /// Empty if there is none.
  private static func metadata(
    _ verdict: DoorVerdict, _ disk: borrowing FileDescriptor, _ options: ReadOptions
  ) throws(WorkFailure) -> [UInt8] {
    guard verdict.facts.summary(of: .metadata) != nil else { return [] }
    let memory = try attempt(.system) { () throws(SystemError) in try FileDescriptor.inMemory() }
    let second = try extract(.metadata, from: disk, options, to: memory)
    let bytes = min(second.outputBytes, FormatLimits.maxMetadataBytes)
    return try attempt(.system) { () throws(SystemError) in
      try memory.bytes(count: bytes)
    }
  }

  private static func extract(
    _ stream: StreamName, from disk: borrowing FileDescriptor, _ options: ReadOptions,
    to memory: borrowing FileDescriptor
  ) throws(WorkFailure) -> DoorVerdict {
    let verdict = Door.open(
      disk, task: .extract(stream), options: options,
      output: DoorOutput(FileDescriptor(borrowing: memory.number)))
    if let failure = verdict.failure { throw WorkFailure(failure) }
    return verdict
  }

  private init(file: consuming FileDescriptor, bytes: UInt64, metadata: [UInt8]) {
    self.file = file
    self.bytes = bytes
    self.metadata = metadata
  }

  /// Says so if another QEMU or machine wrote it than the one here.
  borrowing func compareMetadata(with ours: [UInt8], _ socket: SystemPath) {
    if metadata.isEmpty || metadata == ours { return }
    var text = PlainText()
    text.append("the state was saved by another QEMU or machine: ")
    text.append(lines: metadata)
    text.append("; this one is ")
    text.append(lines: ours)
    AgentFailure(.good, socket) { $0.append(text) }.say()
  }
}

extension PlainText {
  /// Lines in one line.
  fileprivate mutating func append(lines bytes: [UInt8]) {
    var isFirst = true
    for line in bytes.split(separator: UInt8(ascii: "\n")) {
      if !isFirst { append(", ") }
      append(escaping: [UInt8](line), maxBytes: 256)
      isFirst = false
    }
  }
}
