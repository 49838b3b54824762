import SaveDisk
import SystemIO
import Transfer

/// What the door made of a disk that was asked for its stream `qemu`.
public struct Extraction: Equatable, Sendable {
  public let failure: DoorFailure?
  /// The state; empty unless `failure` is nil.
  public let state: [UInt8]

  public init(failure: DoorFailure?, state: [UInt8]) {
    self.failure = failure
    self.state = state
  }
}

/// Puts bytes through the door, as a plain file.
public func extract(
  _ disk: [UInt8], options: ReadOptions = ReadOptions()
) throws -> Extraction {
  let input = try MemoryFile(disk)
  return try extract(input.descriptor, options: options)
}

public func extract(
  _ input: borrowing FileDescriptor, options: ReadOptions = ReadOptions()
) throws -> Extraction {
  let output = try MemoryFile()
  let verdict = Door.open(
    input, task: .extract(.qemu), options: options,
    output: DoorOutput(FileDescriptor(borrowing: output.descriptor.number)))
  if verdict.failure != nil { return Extraction(failure: verdict.failure, state: []) }
  return Extraction(failure: nil, state: try output.contents())
}
