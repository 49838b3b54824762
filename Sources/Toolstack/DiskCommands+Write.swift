import Codecs
import SaveDisk
import SystemIO
import Transfer

/// How `write` is to go about it.
public struct WriteOptions {
  /// For a header that `write` makes itself.
  public var header = HeaderOptions()
  public var setting = CodecSetting.auto
  /// Most raw bytes that are taken, whatever the header says.
  public var maxStateBytes = ReaderLimits.defaultStateBytes
  /// Make a new header, and replace what is there.
  public var isForced = false
  /// Threads that code a long stream.
  public var workers = WriteOptions.usualWorkers
  public var progress: Progress?

  /// So that the memory of a long stream has a bound.
  static let maxWorkers = 4
  static var usualWorkers: Int { min(Threads.processors, maxWorkers) }

  public init() {}
}

extension DiskCommands {
  /// `write`: the source's bytes become the stream `qemu` of a disk.
  ///
  /// (a) An absent or empty file gets a header with capacity 0 and ends after the commit; (b) an
  /// allocated, still empty disk is written with the header it has; (c) anything else is refused,
  /// unless forced. A new file has its name only once it is complete.
  public static func write(
    _ path: SystemPath, from source: borrowing FileDescriptor, options: WriteOptions
  ) throws(ToolError) -> WrittenDisk {
    try requireName(path)
    guard let kind = try existing(path) else {
      if try isDanglingLink(path), !options.isForced { throw wouldDestroy(path) }
      return try writeNew(path, from: source, options: options, isReplacing: options.isForced)
    }
    if options.isForced && kind == .regular {
      try requireOrdinary(path)
      return try writeNew(path, from: source, options: options, isReplacing: true)
    }
    guard kind == .regular || kind == .blockDevice else {
      throw ToolError(.unsupported, path) { $0.append("neither a plain file nor a disk") }
    }
    if kind == .blockDevice {
      let device = try GivenDevice(path)
      if options.isForced {
        // A new header; what lies behind the commit counts for nothing on a device.
        let capacity = device.wholeCapacityBytes
        try device.requireCapacity(capacity)
        var writer = DiskWriter(
          header: try newHeader(path, options, capacityBytes: capacity),
          store: FileStore(FileDescriptor(borrowing: device.descriptor.number)),
          setting: options.setting, writesHeader: true, maxStateBytes: options.maxStateBytes,
          workers: options.workers, progress: options.progress)
        return try fill(&writer, path, from: source, maxStateBytes: options.maxStateBytes)
      }
      return try writeIntoAllocated(
        path, device.descriptor, .blockDevice, from: source, options: options)
    }
    let disk = try openFile(path)
    let status = try attempt(path) { () throws(SystemError) in try disk.status() }
    if let given = try? source.status(), given.isSameFile(as: status) {
      throw ToolError(.usage, path) { $0.append("is also the state on standard input") }
    }
    if status.kind == .regular && status.bytes == 0 {
      return try writeIntoEmptyFile(path, disk, from: source, options: options)
    }
    return try writeIntoAllocated(path, disk, kind, from: source, options: options)
  }

  /// A plain file for writing that nobody else writes, as far as locks and a lease can tell.
  static func openFile(_ path: SystemPath) throws(ToolError) -> FileDescriptor {
    let hasWriter = try attempt(path) { () throws(SystemError) in
      try FileDescriptor.hasWriter(path)
    }
    if hasWriter == true {
      throw ToolError(.busy, path) { $0.append("another program has it open for writing") }
    }
    let disk = try openAttachedFile(path)
    // What it is counts from when nobody else can change it.
    try lock(disk, path)
    // Somebody may have put another in its place before that.
    let isThere = try attempt(path) { () throws(SystemError) in
      try FileStatus.of(path).isSameFile(as: disk.status())
    }
    guard isThere else {
      throw ToolError(.busy, path) { $0.append("another program has put a new file there") }
    }
    return disk
  }

  /// One that a stubdomain has already: the loop device writes it, and keeps the lock that `attach`
  /// took, since a lock belongs to the open file. The domain's lock keeps other commands away.
  static func openAttachedFile(_ path: SystemPath) throws(ToolError) -> FileDescriptor {
    try attempt(path) { () throws(SystemError) in try FileDescriptor.open(path, .readWrite) }
  }

  /// - Parameter timeoutMilliseconds: how long somebody else's lock is waited for.
  static func lock(
    _ disk: borrowing FileDescriptor, _ path: SystemPath, timeoutMilliseconds: UInt64 = 0
  ) throws(ToolError) {
    do throws(SystemError) {
      try disk.lockExclusively(until: Deadline(timeoutMilliseconds: timeoutMilliseconds))
    } catch {
      guard error.errno == Errno.wouldBlock else { throw ToolError(error, path) }
      throw ToolError(.busy, path) { $0.append("another program has locked it") }
    }
  }

  private static func writeIntoAllocated(
    _ path: SystemPath, _ disk: borrowing FileDescriptor, _ kind: FileStatus.Kind,
    from source: borrowing FileDescriptor, options: WriteOptions
  ) throws(ToolError) -> WrittenDisk {
    switch EmptyDisk.probe(disk) {
    case .empty(let header):
      var writer = DiskWriter(
        header: header, store: FileStore(FileDescriptor(borrowing: disk.number)),
        setting: options.setting, writesHeader: false, maxStateBytes: options.maxStateBytes,
        workers: options.workers, progress: options.progress)
      let stated = header.header.maxRawBytes
      let isMine = stated == 0 || options.maxStateBytes < stated
      return try fill(
        &writer, path, from: source, maxStateBytes: isMine ? options.maxStateBytes : nil)
    case .used:
      throw ToolError(.wouldDestroy, path) {
        $0.append("is a save disk that holds a log already")
        if kind == .regular { $0.append("; --force writes a new one") }
      }
    case .otherSize(let found, let capacity):
      throw ToolError(.wouldDestroy, path) {
        $0.appendOtherSize(foundBytes: found, capacityBytes: capacity)
        if kind == .regular { $0.append("; --force replaces a file") }
      }
    case .failed(.disk(let error)):
      throw ToolError(.wouldDestroy, path) {
        $0.append("is no empty save disk (")
        error.describe(into: &$0)
        $0.append(
          kind == .regular
            ? "); --force replaces a file" : "); `stubsave allocate` makes it one")
      }
    case .failed(let failure): throw ToolError(failure, path)
    }
  }

  private static func writeNew(
    _ path: SystemPath, from source: borrowing FileDescriptor, options: WriteOptions,
    isReplacing: Bool
  ) throws(ToolError) -> WrittenDisk {
    if isReplacing { try ReplacedFile(path).end() }
    let header = try newHeader(path, options)
    var file = try attempt(path) { () throws(SystemError) in try NewFile(for: path) }
    var writer = DiskWriter(
      header: header, store: FileStore(FileDescriptor(borrowing: file.descriptor.number)),
      setting: options.setting, writesHeader: true, maxStateBytes: options.maxStateBytes,
      workers: options.workers, progress: options.progress)
    let written = try fill(
      &writer, path, from: source, maxStateBytes: options.maxStateBytes)
    try file.publishUnlessInUse(replacing: isReplacing ? .regularFile : .nothing, isFlushed: true)
    return written
  }

  /// In place, because the file may be open elsewhere; after a failure it is empty again.
  private static func writeIntoEmptyFile(
    _ path: SystemPath, _ disk: borrowing FileDescriptor, from source: borrowing FileDescriptor,
    options: WriteOptions
  ) throws(ToolError) -> WrittenDisk {
    var writer = DiskWriter(
      header: try newHeader(path, options),
      store: FileStore(FileDescriptor(borrowing: disk.number)), setting: options.setting,
      writesHeader: true, maxStateBytes: options.maxStateBytes,
      workers: options.workers, progress: options.progress)
    do throws(ToolError) {
      return try fill(&writer, path, from: source, maxStateBytes: options.maxStateBytes)
    } catch {
      try? disk.truncate(to: 0)
      throw error
    }
  }

  private static func newHeader(
    _ path: SystemPath, _ options: WriteOptions, capacityBytes: UInt64 = 0
  ) throws(ToolError) -> DiskHeader.Parsed {
    try attempt(path) { () throws(SystemError) in
      var header = options.header
      header.allowedCodecs = header.allowedCodecs.union(options.setting.admitted)
      return DiskHeader.Parsed(new: try header.header(capacityBytes: capacityBytes))
    }
  }

  /// Codes and writes everything.
  ///
  /// - Parameter maxStateBytes: the limit that `--max-state` can raise, nil if it is not the one
  ///   that binds.
  private static func fill(
    _ writer: inout DiskWriter<FileStore>, _ path: SystemPath,
    from source: borrowing FileDescriptor, maxStateBytes: UInt64?
  ) throws(ToolError) -> WrittenDisk {
    do throws(WriteError) {
      return try writer.fill(from: source)
    } catch {
      throw ToolError(ExitStatus(error), path) { text in
        text.append(error)
        if case .overMaxRawBytes(let limit) = error, limit == maxStateBytes {
          text.append("; --max-state raises the limit")
        }
      }
    }
  }
}
