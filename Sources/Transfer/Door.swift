import Codecs
import SaveDisk
import SystemIO

/// What the one door is asked to do with a disk.
public enum DoorTask: Sendable, BitwiseCopyable {
  /// Judge it; nothing is written.
  case verify
  /// Write the decoded bytes of one stream to the output.
  case extract(StreamName)
  /// Write an entry of `RecordEntry` for each record, but for 65536 at most, to the output, also
  /// of a disk that turns out not to be good.
  case list
}

/// What the one door answers. Fixed size, no memory behind it: fit for a pipe.
public struct DoorVerdict: Sendable, BitwiseCopyable {
  /// Nil if the disk is good and the task is done.
  public let failure: DoorFailure?
  public let facts: DiskFacts
  /// Bytes that are in the output. **Not to be used unless `failure` is nil**, but for `.list`.
  public let outputBytes: UInt64
  /// They are in the overflow descriptor, not in the first.
  public let isInOverflow: Bool

  /// A task that has not come so far.
  public init(failure: DoorFailure) {
    self.init(failure: failure, facts: DiskFacts(), outputBytes: 0, isInOverflow: false)
  }

  init(failure: DoorFailure?, facts: DiskFacts, outputBytes: UInt64, isInOverflow: Bool) {
    self.failure = failure
    self.facts = facts
    self.outputBytes = outputBytes
    self.isInOverflow = isInOverflow
  }
}

public enum DoorFailure: Equatable, Sendable, BitwiseCopyable {
  case disk(DiskError)
  case input(SystemError)
  case output(SystemError)
  /// The disk is good, but has no stream of the name asked for.
  case noSuchStream
  /// The process that was to look has not given an answer.
  case decoder(DecoderFailure)
}

/// Why a decoder in a process of its own has said nothing that counts.
public enum DecoderFailure: Error, Equatable, Sendable, BitwiseCopyable {
  /// There is no such program, and nothing else is to be used.
  case notFound
  /// Walls that are missing, as `Wall` numbers them, and all of them were wanted.
  case withoutWalls(UInt32)
  /// It could not be started or waited for.
  case system(SystemError)
  /// It took longer than it may.
  case deadline
  /// A signal has ended the wait.
  case interrupted
  case exited(UInt8)
  case signal(Int32)
  /// Its answer is none, or does not fit what it has written.
  case nonsense
}

/// What the program that opens the door has for it. None of it is part of the question, and none changes
/// the answer, but that a codec can be decoded.
public struct DoorResources {
  /// Decoders beside those of `ChunkCodec`.
  public var added: [AddedDecoder] = []
  /// Is told of the bytes of the disk that have been gone through.
  public var advanced: ((Int) -> Void)?

  public init() {}
}

/// The one door: everything that looks into bytes from outside goes through here.
///
/// Input descriptor in, output descriptor out, limits given, a fixed-size verdict back; so that
/// it can become a process of its own that has nothing else.
public enum Door {
  /// - Parameters:
  ///   - input: the disk; each byte of it is fetched at most once. Files and devices are read
  ///     from their beginning, whatever the descriptor's offset is.
  ///   - shape: what the disk lies in, if that is known already.
  ///   - output: where the task's bytes go; not flushed.
  public static func open(
    _ input: borrowing FileDescriptor, shape: InputShape? = nil, task: DoorTask,
    options: ReadOptions, output: borrowing DoorOutput, resources: DoorResources = DoorResources()
  ) -> DoorVerdict {
    do throws(SystemError) {
      return open(
        try DiskInput(input, shape), task: task, options: options, output: output,
        resources: resources)
    } catch {
      return DoorVerdict(failure: .input(error))
    }
  }

  /// - Parameter input: has been fetched from perhaps, but nothing of it has been consumed.
  public static func open(
    _ input: consuming DiskInput, task: DoorTask, options: ReadOptions,
    output: borrowing DoorOutput, resources: DoorResources = DoorResources()
  ) -> DoorVerdict {
    switch task {
    case .verify:
      var sink = NoSink()
      let end = walk(input, options, resources, &sink)
      return verdict(end, OutputPosition())
    case .extract(let name):
      var sink = ExtractSink(name: name, output: output)
      var end = walk(input, options, resources, knowing: .asked(name), &sink)
      end.require(name)
      return verdict(end, sink.position)
    case .list:
      var sink = ListSink(output: output)
      let end = walk(input, options, resources, &sink)
      return verdict(end, sink.position)
    }
  }

  /// `open` for the stream `qemu`, and in the same pass the stream `metadata`.
  ///
  /// - Returns: of the metadata the first 4096 bytes, empty if there are none. **Not to be used
  ///   unless the verdict is good**, as the output.
  public static func carry(
    _ input: borrowing FileDescriptor, shape: InputShape? = nil, options: ReadOptions,
    output: borrowing DoorOutput, resources: DoorResources = DoorResources()
  ) -> (verdict: DoorVerdict, metadata: [UInt8]) {
    var sink = CarrySink(output: output)
    do throws(SystemError) {
      var end = walk(try DiskInput(input, shape), options, resources, &sink)
      end.require(.qemu)
      return (verdict(end, sink.position), sink.metadataBytes)
    } catch {
      return (DoorVerdict(failure: .input(error)), [])
    }
  }

  /// How a walk has ended, and what it has learnt before.
  private struct End {
    var failure: DoorFailure?
    var facts = DiskFacts()

    mutating func require(_ name: StreamName) {
      if failure == nil && facts.summary(of: name) == nil { failure = .noSuchStream }
    }
  }

  private static func walk<Sink: LogSink & ~Copyable>(
    _ input: consuming DiskInput, _ options: ReadOptions, _ resources: DoorResources,
    knowing knownStreams: KnownStreams = .ours, _ sink: inout Sink
  ) -> End {
    var end = End()
    var walk = DiskWalk(input, options: options, resources: resources, knowing: knownStreams)
    do throws(WalkError) {
      try walk.run(&sink)
    } catch {
      end.failure = DoorFailure(error)
    }
    end.facts = walk.facts
    return end
  }

  private static func verdict(_ end: End, _ placed: OutputPosition) -> DoorVerdict {
    DoorVerdict(
      failure: end.failure, facts: end.facts, outputBytes: placed.bytes,
      isInOverflow: placed.isInOverflow)
  }
}

extension DoorFailure {
  init(_ error: WalkError) {
    switch error {
    case .disk(let error): self = .disk(error)
    case .input(let error): self = .input(error)
    case .output(let error): self = .output(error)
    }
  }
}
