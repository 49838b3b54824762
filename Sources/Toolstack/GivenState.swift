import QEMUState
import SaveDisk
import SystemIO
import Transfer

/// A state as the toolstack gave it back: a private copy, checked by whatever it brings.
struct GivenState: ~Copyable {
  /// The state and nothing else, from the file's start.
  let file: FileDescriptor
  let format: StateFormat
  let metadata: [UInt8]
  /// As its configuration section says; under Xen there is none.
  let machine: [UInt8]?
  let warnings: [PlainText]

  static func open(_ options: RestoreOptions) throws(ToolError) -> GivenState {
    // Of all streams together; the state by itself is measured below.
    var reading = ReadOptions()
    reading.limits = ReaderLimits.forState(maxBytes: options.transfer.maxStateBytes)
    reading.acceptedCodecs = options.acceptedCodecs
    let input =
      options.isRootsFile
      ? try RootsFile.open(options.input) : try DiskCommands.openInput(options.input)
    let copy = try privateCopy(
      of: input, options.input, reading.limits, options.transfer.spoolDirectory)
    if try attempt(
      options.input,
      { () throws(SystemError) in
        try Layout.isSaveDisk(copy.file, bytes: copy.bytes)
      })
    {
      // Its length counts: zeros may be the room of an allocated disk, or what follows an archive.
      try attempt(options.input) { () throws(SystemError) in
        try copy.file.truncate(to: copy.bytes + copy.paddingBytes)
      }
      return try fromArchive(copy.file, options, reading)
    }
    return try fromStateFile(copy, options, reading)
  }

  /// All of a state file or an archive, so that nobody can change it any more.
  static func privateCopy(
    of input: borrowing FileDescriptor, _ path: SystemPath, _ limits: ReaderLimits,
    _ directory: SystemPath
  ) throws(ToolError) -> Spool.Copy {
    // A state with metadata in its trailer, or an archive: neither needs more.
    let maxBytes = limits.maxDiskBytes + StateFile.maxTrailerBytes
    var start: [UInt8] = []
    do throws(Spool.CopyError) {
      return try Spool.copy(of: input, maxBytes: maxBytes, in: directory, start: &start)
    } catch {
      switch error {
      case .system(let error): throw ToolError(error, path)
      case .late: throw DecoderSetting.late(path, "was not there in full")
      case .tooManyZeros:
        throw ToolError(.overLimit, path) {
          $0.append("more than ")
          $0.append(Spool.maxPaddingBytes)
          $0.append(" zeros follow in it, which is more than a state is filled up with")
        }
      case .tooLarge:
        if let named = try? migrationStream(start, path, limits) { throw named }
        throw ToolError(.overLimit, path) {
          $0.append("has more than ")
          $0.append(maxBytes)
          $0.append(" bytes; --max-state raises the limit")
        }
      }
    }
  }

  /// What is larger than any device state is often a whole migration stream: its first bytes say so.
  private static func migrationStream(
    _ bytes: [UInt8], _ path: SystemPath, _ limits: ReaderLimits
  ) throws(ToolError) -> ToolError? {
    let start = try attempt(path) { () throws(SystemError) in
      let start = try FileDescriptor.inMemory()
      try unsafe start.writeAll(bytes.span.bytes)
      return start
    }
    var options = ReadOptions()
    options.limits = limits
    let (_, head, _) = try DecoderProcess.look(
      at: start, path, bytes: UInt64(bytes.count), options: options, listsSections: false)
    return head.kind == .migrationStream ? head.error(path) : nil
  }

  private static func fromArchive(
    _ copy: borrowing FileDescriptor, _ options: RestoreOptions, _ reading: ReadOptions
  ) throws(ToolError) -> GivenState {
    let directory = options.transfer.spoolDirectory
    let state = try Spool.carry(from: copy, options.input, reading, in: directory)
    try requireSize(state.bytes, options)
    let file = try attempt(options.input) { () throws(SystemError) in
      let file = try Spool.file(bytes: state.bytes, in: directory)
      try state.file().copy(bytes: state.bytes, to: file)
      return file
    }
    try requireMagic(file, options.input)
    let (_, head, _) = try DecoderProcess.look(
      at: file, options.input, bytes: state.bytes, options: reading, listsSections: false)
    if let error = head.error(options.input) { throw error }
    // Whoever wrote the archive wrote these lines, too: a stubdomain, if `dump` made it.
    return GivenState(
      file: file, format: .archive, metadata: Origin.agents(state.metadata), machine: head.machine,
      warnings: Origin.warning(foreign: state.metadata).map { [$0] } ?? [])
  }

  private static func fromStateFile(
    _ copy: consuming Spool.Copy, _ options: RestoreOptions, _ reading: ReadOptions
  ) throws(ToolError) -> GivenState {
    let (finding, head, _) = try DecoderProcess.look(
      at: copy.file, options.input, bytes: copy.bytes, options: reading, listsSections: false)
    var warnings: [PlainText] = []
    let format: StateFormat
    var metadata: [UInt8] = []
    switch finding {
    case .good(let facts):
      try requireSize(facts.stateBytes, options)
      try attempt(options.input) { () throws(SystemError) in
        try copy.file.truncate(to: facts.stateBytes)
      }
      format = .state
      metadata = facts.metadata
      if let remark = PlainText.remark(paddingBytes: facts.paddingBytes + copy.paddingBytes) {
        warnings.append(remark)
      }
    case .none:
      try requireMagic(copy.file, options.input)
      if let error = head.error(options.input) { throw error }
      try requireSize(copy.bytes, options)
      if options.requiresTrailer {
        throw ToolError(unverified: options.input, way: options.acceptOption)
      }
      warnings.append(.unverified)
      format = .raw
    case .failed(let error):
      // Of nothing but zeros it is said that it is no state.
      if error.field == .end { try requireMagic(copy.file, options.input) }
      throw ToolError(.disk(error), options.input)
    case .unreadable(let error): throw ToolError(error, options.input)
    }
    try requireMagic(copy.file, options.input)
    if let error = head.error(options.input) { throw error }
    return GivenState(
      file: copy.takeFile(), format: format, metadata: metadata, machine: head.machine,
      warnings: warnings)
  }

  private static func requireSize(
    _ stateBytes: UInt64, _ options: RestoreOptions
  ) throws(ToolError) {
    if stateBytes <= options.transfer.maxStateBytes { return }
    throw ToolError.overMaxState(
      options.input, stateBytes: stateBytes, maxBytes: options.transfer.maxStateBytes)
  }

  private static func requireMagic(
    _ file: borrowing FileDescriptor, _ path: SystemPath
  ) throws(ToolError) {
    if try attempt(path, { () throws(SystemError) in try file.beginsWithQEMUMagic() }) { return }
    throw ToolError(.notASaveDisk, path) {
      $0.append("is neither a device state of QEMU nor a save disk")
    }
  }
}

extension Layout {
  /// Whether a file begins with a save disk's magic.
  static func isSaveDisk(
    _ file: borrowing FileDescriptor, bytes: UInt64
  ) throws(SystemError) -> Bool {
    guard bytes >= 16 else { return false }
    let first = try file.bytes(count: 16)
    var cursor = unsafe ByteCursor(first.span.bytes)
    return cursor.bytes16() == Layout.magic
  }
}
