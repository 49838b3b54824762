import SaveDisk
import SystemIO
import Transfer

/// Where a state goes: a file that gets its name once it is complete, or something that exists and
/// is written in place, such as a FIFO, standard output, or what else was open before.
///
/// Made before anything else is touched, so that a path that cannot be used is found first.
struct Output: ~Copyable {
  private enum Kind {
    case newFile(NewFile.Replaceable)
    case inPlace
  }

  let path: SystemPath
  private let kind: Kind
  private var file: NewFile?
  private var target: FileDescriptor?

  /// - Parameters:
  ///   - path: "-" is standard output; /dev/stdout, /dev/fd/N and the like are what is open there.
  ///   - isForced: an existing regular file is replaced; nothing else ever is.
  ///   - opensNow: also what is written in place; a FIFO then waits here for its reader.
  init(_ path: SystemPath, isForced: Bool, opensNow: Bool) throws(ToolError) {
    if let number = path.descriptor(hyphen: 1) {
      self.init(path, .inPlace, nil, try DiskCommands.inherited(number, path))
      return
    }
    let existing = try DiskCommands.existing(path)
    switch existing {
    case nil,
      .regular? where isForced:
      // A link that leads nowhere is a name that is taken.
      let isTaken = try DiskCommands.isDanglingLink(path)
      if existing == nil && isTaken && !isForced { throw DiskCommands.wouldDestroy(path) }
      if existing != nil {
        try DiskCommands.requireOrdinary(path)
        try ReplacedFile(path).end()
      }
      let made = try attempt(path) { () throws(SystemError) in try NewFile(for: path) }
      self.init(path, .newFile(isForced ? .regularFile : .nothing), made, nil)
    case .regular?: throw DiskCommands.wouldDestroy(path)
    case .directory?: throw ToolError(.wouldDestroy, path) { $0.append("is a directory") }
    case .blockDevice?: throw ToolError(.wouldDestroy, path) { $0.append("is a block device") }
    default:
      let opened = opensNow ? try Output.openExisting(path) : nil
      self.init(path, .inPlace, nil, opened)
    }
  }

  /// A new file in a place where nothing but one is of any use, whatever has the name until then: a FIFO there
  /// would be waited for, and a link or a device lead elsewhere. Only a directory stays.
  init(replacing path: SystemPath) throws(ToolError) {
    try Output.requireReplaceable(path)
    let made = try attempt(path) { () throws(SystemError) in try NewFile(for: path) }
    self.init(path, .newFile(.anything), made, nil)
  }

  /// - Throws: `.wouldDestroy` if `init(replacing:)` would not do.
  static func requireReplaceable(_ path: SystemPath) throws(ToolError) {
    guard let status = try? FileStatus.of(path, followingLinks: false) else { return }
    if status.kind == .directory {
      throw ToolError(.wouldDestroy, path) { $0.append("is a directory") }
    }
  }

  private init(
    _ path: SystemPath, _ kind: Kind, _ file: consuming NewFile?,
    _ target: consuming FileDescriptor?
  ) {
    self.path = path
    self.kind = kind
    self.file = file
    self.target = target
  }

  /// Nothing of what is written shows before `publish`.
  var isNewFile: Bool {
    if case .newFile = kind { return true }
    return false
  }

  /// The descriptor to write to; opened if it has not been yet.
  mutating func descriptor() throws(ToolError) -> FileDescriptor {
    switch file {
    case .some(let file): return FileDescriptor(borrowing: file.descriptor.number)
    case .none: break
    }
    if let number = openNumber { return FileDescriptor(borrowing: number) }
    let opened = try Output.openExisting(path)
    let number = opened.number
    target = consume opened
    return FileDescriptor(borrowing: number)
  }

  private var openNumber: Int32? {
    switch target {
    case .some(let descriptor): descriptor.number
    case .none: nil
    }
  }

  /// Makes a new file durable and visible. Of what is written in place nothing can be taken back.
  ///
  /// - Parameters:
  ///   - signals: the number of `EndingSignals`; if one has come in, nothing shows.
  ///   - isDurable: on stable storage.
  mutating func publish(
    heeding signals: Int32? = nil, isDurable: Bool = true
  ) throws(ToolError) {
    if let signals, EndingSignals.hasCome(signals) {
      throw ToolError(SystemError(.write, errno: Errno.interrupted), path)
    }
    guard case .newFile(let replacing) = kind, var made = file.take() else { return }
    try made.publishUnlessInUse(replacing: replacing, isDurable: isDurable)
  }

  /// Of a FIFO a reader is waited for, as long as a look may take. It may have become a file since it was looked at; that is not written to.
  private static func openExisting(_ path: SystemPath) throws(ToolError) -> FileDescriptor {
    let target = try openForWriting(path)
    let status = try attempt(path) { () throws(SystemError) in try target.status() }
    switch status.kind {
    case .regular, .blockDevice, .directory: throw DiskCommands.wouldDestroy(path)
    default: return target
    }
  }

  private static func openForWriting(_ path: SystemPath) throws(ToolError) -> FileDescriptor {
    do throws(SystemError) {
      guard (try? FileStatus.of(path))?.kind == .fifo else {
        return try FileDescriptor.open(path, .writeExisting)
      }
      return try FileDescriptor.openFIFO(toWrite: path, until: DecoderSetting.deadline)
    } catch {
      guard error.errno == Errno.timedOut else { throw ToolError(error, path) }
      throw DecoderSetting.late(path, "nobody has opened it to read")
    }
  }
}
