import SaveDisk
import Transfer

/// How far a libxl stream has come.
private struct LibxlStream {
  /// Once its LIBXC_CONTEXT has been read.
  var libxc: LibxcStream?
  var isInCheckpoint = false
  var isCheckpointed = false

  /// Whether a record of this type may come next.
  func allows(_ type: LibxlRecordType) -> Bool {
    switch type {
    case .end: libxc != nil && !isInCheckpoint
    case .libxcContext: libxc == nil
    case .checkpointEnd: isInCheckpoint
    case .checkpointState: isCheckpointed
    case .emulatorXenstoreData, .emulatorContext: true
    }
  }
}

extension SaveFileWalk {
  private static let libxlVersion: UInt32 = 2
  /// Made from a stream of Xen 4.5 or older.
  private static let convertedOption: UInt32 = 2
  private static let lastEmulator: UInt32 = 2
  private static let lastControl: UInt32 = 3

  /// From its header to its END.
  mutating func readLibxlStream() throws(SaveFileFailure) {
    try readLibxlHeader()
    var stream = LibxlStream()
    while true {
      let head = try readRecordHead(.libxlRecord)
      guard let type = LibxlRecordType(rawValue: head.type) else {
        try passOver(head, .libxlRecord)
        continue
      }
      let structure = type.structure
      guard stream.allows(type) else {
        throw fail(.corrupt, structure, .type, at: head.offset, found: UInt64(head.type))
      }
      try requireLength(head, type)
      switch type {
      case .end:
        accept(head.entry(structure))
        return
      case .libxcContext:
        accept(head.entry(structure))
        stream.libxc = try readLibxcHeaders(isInLibxlStream: true)
        try readLibxc(&stream)
      case .checkpointEnd:
        accept(head.entry(structure))
        stream.isInCheckpoint = false
        try readLibxc(&stream)
      case .checkpointState: try readCheckpointState(head)
      case .emulatorXenstoreData, .emulatorContext: try readEmulatorRecord(head, type)
      }
    }
  }

  private mutating func readLibxlHeader() throws(SaveFileFailure) {
    let start = position
    try need(LibxlHeader.byteCount, of: .libxlHeader)
    let header = LibxlHeader(parsing: input.bytes(LibxlHeader.byteCount))
    guard header.hasIdent else { throw fail(.corrupt, .libxlHeader, .ident, at: start) }
    guard header.version == SaveFileWalk.libxlVersion else {
      throw fail(
        .unsupported, .libxlHeader, .version, at: start + 8, found: UInt64(header.version))
    }
    guard header.options & ~SaveFileWalk.convertedOption == 0 else {
      throw fail(
        .unsupported, .libxlHeader, .options, at: start + 12, found: UInt64(header.options))
    }
    consume(LibxlHeader.byteCount)
    accept(
      SaveFileEntry(
        .libxlHeader, at: start, bytes: UInt64(LibxlHeader.byteCount),
        first: UInt64(header.version), second: UInt64(header.options)))
  }

  /// A record's head, consumed.
  mutating func readRecordHead(
    _ structure: SaveFileStructure
  ) throws(SaveFileFailure) -> RecordHead {
    try need(RecordHead.byteCount, of: structure)
    let head = RecordHead(parsing: input.bytes(RecordHead.byteCount), at: position)
    consume(RecordHead.byteCount)
    return head
  }

  /// A record of unknown type: an optional one.
  mutating func passOver(
    _ head: RecordHead, _ structure: SaveFileStructure, maxBodyBytes: UInt32 = .max
  ) throws(SaveFileFailure) {
    guard head.isOptional else {
      throw fail(.unsupported, structure, .type, at: head.offset, found: UInt64(head.type))
    }
    guard head.bodyBytes <= maxBodyBytes else { throw wrongLength(head, structure) }
    try skip(UInt64(head.bodyBytes), of: structure)
    try readPadding(head.bodyBytes, of: structure)
    accept(head.entry(structure))
  }

  private func requireLength(
    _ head: RecordHead, _ type: LibxlRecordType
  ) throws(SaveFileFailure) {
    let isPossible =
      switch type {
      case .end, .libxcContext, .checkpointEnd: head.bodyBytes == 0
      case .checkpointState: head.bodyBytes == 4
      case .emulatorXenstoreData, .emulatorContext: head.bodyBytes >= 8
      }
    if isPossible { return }
    throw fail(
      .corrupt, type.structure, .bodyLength, at: head.offset + 4, found: UInt64(head.bodyBytes))
  }

  private mutating func readLibxc(_ stream: inout LibxlStream) throws(SaveFileFailure) {
    guard var libxc = stream.libxc else { preconditionFailure("libxc's records without headers") }
    // What comes now has an end of its own.
    hasLastRecords = false
    if try readLibxcRecords(&libxc) == .checkpoint {
      stream.isInCheckpoint = true
      stream.isCheckpointed = true
    }
    stream.libxc = libxc
  }

  private mutating func readCheckpointState(_ head: RecordHead) throws(SaveFileFailure) {
    try need(4, of: .checkpointState)
    let control = input.bytes(4).number
    guard control <= SaveFileWalk.lastControl else {
      throw fail(.corrupt, .checkpointState, .controlID, at: position, found: UInt64(control))
    }
    consume(4)
    try readPadding(head.bodyBytes, of: .checkpointState)
    accept(head.entry(.checkpointState, first: control))
  }

  mutating func readEmulatorRecord(
    _ head: RecordHead, _ type: LibxlRecordType
  ) throws(SaveFileFailure) {
    let structure = type.structure
    try need(8, of: structure)
    let (emulator, index) = input.bytes(8).twoNumbers
    guard emulator <= SaveFileWalk.lastEmulator else {
      throw fail(.unsupported, structure, .emulatorID, at: position, found: UInt64(emulator))
    }
    consume(8)
    let rest = UInt64(head.bodyBytes) - 8
    if type == .emulatorXenstoreData {
      try readXenstoreData(rest)
    } else {
      // Of emulator 0, too: Xen's converter of older streams does not say which QEMU's it is.
      try copyState(rest, structure, recordOffset: head.offset)
    }
    try readPadding(head.bodyBytes, of: structure)
    accept(head.entry(structure, first: emulator, second: UInt64(index)))
  }

  private mutating func readXenstoreData(_ count: UInt64) throws(SaveFileFailure) {
    let structure = SaveFileStructure.emulatorXenstoreData
    var pairs = XenstorePairs()
    var left = count
    while left > 0 {
      let wanted = Int(min(left, UInt64(SaveFileWalk.pieceBytes)))
      let piece = try fetch(wanted)
      if let wrong = pairs.take(input.bytes(piece)) {
        throw fail(.corrupt, structure, .xenstoreData, at: position + UInt64(wrong))
      }
      if piece < wanted { throw end(of: structure, behind: piece) }
      consume(piece)
      left -= UInt64(piece)
    }
    guard pairs.isComplete else { throw fail(.corrupt, structure, .xenstoreData, at: position) }
  }
}
