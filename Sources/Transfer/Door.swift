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
}

public enum DoorFailure: Equatable, Sendable, BitwiseCopyable {
  case disk(DiskError)
  case input(SystemError)
  case output(SystemError)
  /// The disk is good, but has no stream of the name asked for.
  case noSuchStream
}

/// What the process that opens the door has for it. None of it is part of the question, and none
/// changes the answer, but that a codec can be decoded.
public struct DoorResources: Sendable {
  #if !hasFeature(Embedded)
    /// Decoders beside those of `ChunkCodec`.
    public var added: [AddedCodec] = []
  #endif
  /// Threads that a long disk gets, this one among them; up to 1 leaves it with this one.
  public var workers = 0
  /// Is told of the bytes of the disk that have been gone through.
  public var progress: Progress?

  public init() {}

  func decoder() -> ChunkDecoder {
    #if hasFeature(Embedded)
      ChunkDecoder()
    #else
      ChunkDecoder(added: added)
    #endif
  }

  /// What a decoder is there for.
  var decodable: CodecSet {
    #if hasFeature(Embedded)
      ChunkCodec.supported
    #else
      ChunkDecoder.supported(added: added)
    #endif
  }
}

/// The one door: everything that looks into bytes from outside goes through here.
///
/// Input descriptor in, output descriptor out, limits given, a fixed-size verdict back; so that
/// it can become a process of its own that has nothing else.
public enum Door {
  /// - Parameters:
  ///   - input: the disk; each byte of it is fetched at most once. Files and devices are read
  ///     from their beginning, whatever the descriptor's offset is.
  ///   - output: where the task's bytes go; not flushed.
  public static func open(
    _ input: borrowing FileDescriptor, task: DoorTask, options: ReadOptions,
    output: borrowing DoorOutput, resources: DoorResources = DoorResources()
  ) -> DoorVerdict {
    var facts = DiskFacts()
    var placed = OutputPosition()
    var failure: DoorFailure?
    do throws(WalkError) {
      var walk = try DiskWalk(input, options: options, resources: resources)
      do throws(WalkError) {
        switch task {
        case .verify:
          var sink = NoSink()
          try walk.run(&sink)
        case .extract(let name):
          var sink = ExtractSink(name: name, output: output)
          defer { placed = sink.position }
          try walk.run(&sink)
          if walk.facts.summary(of: name) == nil { failure = .noSuchStream }
        case .list:
          var sink = ListSink(output: output)
          defer { placed = sink.position }
          try walk.run(&sink)
        }
      } catch {
        failure = DoorFailure(error)
      }
      facts = walk.facts
    } catch {
      failure = DoorFailure(error)
    }
    return DoorVerdict(
      failure: failure, facts: facts, outputBytes: placed.bytes, isInOverflow: placed.isInOverflow)
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
