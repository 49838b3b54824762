import Codecs
import SaveDisk
import SystemIO

/// The writing half of a transfer: a state streams into a disk that the other side has allocated,
/// by the header that is on it.
public enum DiskFilling {
  /// - Parameters:
  ///   - disk: allocated and still empty; stays open.
  ///   - state: read from where it stands to its end, as the stream `qemu`.
  ///   - metadata: for the stream `metadata`; none if it is empty.
  ///   - maxStateBytes: a limit beside the header's.
  ///   - workers: threads that code a state that is long, beside one that writes; nil: it gets none.
  /// - Returns: once everything is on stable storage.
  public static func fill(
    _ disk: borrowing FileDescriptor, from state: borrowing FileDescriptor, metadata: [UInt8] = [],
    setting: CodecSetting = .auto, maxStateBytes: UInt64 = .max, workers: Int? = nil
  ) throws(FillError) -> WrittenDisk {
    var writer = DiskWriter(
      header: try header(on: disk), store: FileStore(FileDescriptor(borrowing: disk.number)),
      setting: setting, writesHeader: false, maxStateBytes: maxStateBytes, workers: workers)
    do throws(WriteError) {
      return try writer.fill(from: state, metadata: metadata)
    } catch {
      throw .write(error)
    }
  }

  /// The header of a disk that is still empty.
  public static func header(
    on disk: borrowing FileDescriptor
  ) throws(FillError) -> DiskHeader.Parsed {
    switch EmptyDisk.probe(disk) {
    case .empty(let parsed): return parsed
    case .used: throw .used
    case .otherSize(let found, let capacity):
      throw .otherSize(foundBytes: found, capacityBytes: capacity)
    case .failed(let failure): throw .unusable(failure)
    }
  }
}

extension DiskWriter where Store: ~Copyable {
  /// Everything from the source to its end as the stream `qemu`, the metadata unless they are
  /// empty, and the commit. After an error the log ends in an abort record, if it still can.
  public mutating func fill(
    from state: borrowing FileDescriptor, metadata: [UInt8] = []
  ) throws(WriteError) -> WrittenDisk {
    do throws(WriteError) {
      try beginStream(.qemu)
      try write(from: state)
      try endStream()
      if !metadata.isEmpty {
        try beginStream(.metadata)
        try unsafe write(metadata.span.bytes)
        try endStream()
      }
      return try commit()
    } catch {
      abandon(after: error)
      throw error
    }
  }
}

/// Why a disk was not filled.
public enum FillError: Error, Sendable {
  /// It holds a log already.
  case used
  /// Its header was made for another size.
  case otherSize(foundBytes: UInt64, capacityBytes: UInt64)
  /// Its header cannot be read, or is none.
  case unusable(DoorFailure)
  case write(WriteError)
}

extension ExitStatus {
  public init(_ error: FillError) {
    switch error {
    case .used, .otherSize: self = .wouldDestroy
    case .unusable(let failure): self = ExitStatus(failure)
    case .write(let error): self = ExitStatus(error)
    }
  }
}

extension PlainText {
  public mutating func append(_ error: FillError) {
    switch error {
    case .used: append("holds a log already")
    case .otherSize(let found, let capacity):
      appendOtherSize(foundBytes: found, capacityBytes: capacity)
    case .unusable(let failure): append(failure)
    case .write(let error): append(error)
    }
  }
}
