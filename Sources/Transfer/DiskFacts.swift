import SaveDisk

/// What has been learnt of a disk up to where the walk ended. Fixed size.
public struct DiskFacts: Sendable, BitwiseCopyable {
  /// Nil if the header did not pass.
  public internal(set) var header: DiskHeader.Parsed?
  /// Length of a regular file or device, in bytes; nil for a pipe.
  public internal(set) var inputBytes: UInt64?
  /// Streams that have been begun.
  public internal(set) var startedStreams = 0
  /// Streams that have ended, of which there are summaries.
  public internal(set) var finishedStreams = 0
  var summaries = InlineArray<16, StreamSummary>(repeating: StreamSummary())
  /// Records accepted, the commit among them.
  public internal(set) var recordCount: UInt64 = 0
  /// Of these, of types that this version does not know.
  public internal(set) var optionalRecords: UInt64 = 0
  /// Raw and stored bytes of all chunks accepted.
  public internal(set) var rawBytes: UInt64 = 0
  public internal(set) var storedBytes: UInt64 = 0
  /// Length of the save disk, a multiple of 4096; 0 unless it is good.
  public internal(set) var diskBytes: UInt64 = 0

  public init() {}

  /// After a record that has been accepted.
  mutating func count(_ checker: borrowing LogChecker) {
    recordCount = checker.recordCount
    rawBytes = checker.rawBytes
    storedBytes = checker.storedBytes
  }

  mutating func add(_ summary: StreamSummary) {
    summaries[finishedStreams] = summary
    finishedStreams += 1
  }

  /// The summary of finished stream `index`.
  public func summary(_ index: Int) -> StreamSummary {
    precondition(index < finishedStreams)
    return summaries[index]
  }

  /// The summary of the finished stream of that name, if there is one.
  public func summary(of name: StreamName) -> StreamSummary? {
    for index in 0..<finishedStreams where summaries[index].name == name {
      return summaries[index]
    }
    return nil
  }
}
