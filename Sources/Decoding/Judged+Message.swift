import QEMUState
import SaveDisk
import SaveFiles
import SystemIO
import Transfer

/// What the decoder's process says of a file that may be a toolstack's: fixed size, little-endian.
/// Nothing of it is taken that a decoder at its senses could not have said.
extension Judged {
  static let messageBytes = 8 + max(SaveFileVerdict.messageBytes, DoorVerdict.messageBytes)

  private enum Kind: UInt64 {
    case disk = 1
    case saveFile = 2
  }

  /// Kind; verdict; zeros.
  func encode(into bytes: inout [UInt8]) {
    let start = bytes.count
    switch self {
    case .disk(let verdict):
      bytes.append(littleEndian: Kind.disk.rawValue)
      verdict.encode(into: &bytes)
    case .saveFile(let verdict):
      bytes.append(littleEndian: Kind.saveFile.rawValue)
      verdict.encode(into: &bytes)
    }
    bytes += [UInt8](repeating: 0, count: Judged.messageBytes - (bytes.count - start))
  }

  init(parsing message: RawSpan, to request: DecodeRequest) throws(MessageError) {
    guard message.byteCount == Judged.messageBytes else { throw MessageError() }
    var cursor = ByteCursor(message)
    guard let kind = Kind(rawValue: cursor.littleEndianUInt64()) else { throw MessageError() }
    let count = kind == .disk ? DoorVerdict.messageBytes : SaveFileVerdict.messageBytes
    let body = message.extracting(8..<(8 + count))
    guard message.extracting((8 + count)..<message.byteCount).isAllZero else {
      throw MessageError()
    }
    switch kind {
    case .disk:
      if case .saveFile(.extract) = request.task { throw MessageError() }
      self = .disk(try DecodeAnswer.doorVerdict(body, request))
    case .saveFile: self = .saveFile(try SaveFileVerdict(parsing: body, to: request))
    }
  }
}

extension SaveFileVerdict {
  static let messageBytes =
    8 + SaveFileError.messageBytes + DoorFailure.messageBytes + 4 * 8 + 5 * 8 + 8
    + TrailerFinding.messageBytes + StateHead.messageBytes + 4 * 8

  private enum Failure: UInt64 {
    case none = 0
    case file = 1
    case system = 2
  }

  /// Which failure; what is wrong with the file; what the system has refused; format, bytes, bytes
  /// behind, entries; whether there is a state, its offset, length, structure and record; whether there is a finding,
  /// that, and what the state is; bytes of state, entries and sections in the output, and whether
  /// they are in the overflow.
  func encode(into bytes: inout [UInt8]) {
    var fileError: SaveFileError?
    var systemFailure: DoorFailure?
    switch failure {
    case nil: break
    case .file(let error)?: fileError = error
    case .input(let error)?: systemFailure = .input(error)
    case .output(let error)?: systemFailure = .output(error)
    }
    let kind = fileError != nil ? Failure.file : systemFailure != nil ? .system : .none
    bytes.append(littleEndian: kind.rawValue)
    SaveFileError.encode(fileError, into: &bytes)
    DoorFailure.encode(systemFailure, into: &bytes)
    bytes.append(littleEndian: UInt64(facts.format?.rawValue ?? 0))
    bytes.append(littleEndian: facts.bytes)
    bytes.append(littleEndian: facts.bytesBehind)
    bytes.append(littleEndian: facts.entryCount)
    bytes.append(littleEndian: UInt64(facts.state == nil ? 0 : 1))
    bytes.append(littleEndian: facts.state?.offset ?? 0)
    bytes.append(littleEndian: facts.state?.bytes ?? 0)
    bytes.append(littleEndian: UInt64(facts.state?.structure.rawValue ?? 0))
    bytes.append(littleEndian: facts.state?.recordOffset ?? 0)
    bytes.append(littleEndian: UInt64(trailer == nil ? 0 : 1))
    (trailer ?? .none).encode(into: &bytes)
    (head ?? .unseen).encode(into: &bytes)
    for number in [stateBytes, entriesBytes, sectionsBytes] { bytes.append(littleEndian: number) }
    bytes.append(littleEndian: UInt64(isInOverflow ? 1 : 0))
  }

  init(parsing message: RawSpan, to request: DecodeRequest) throws(MessageError) {
    guard message.byteCount == SaveFileVerdict.messageBytes else { throw MessageError() }
    var cursor = ByteCursor(message)
    let failure = try SaveFileVerdict.failure(&cursor)
    let facts = try SaveFileVerdict.facts(&cursor, request)
    let hasTrailer = try cursor.flag()
    guard hasTrailer == (facts.state != nil) else { throw MessageError() }
    let trailer = try TrailerFinding(parsing: &cursor, fileBytes: facts.state?.bytes ?? 0)
    let head = try StateHead(
      parsing: &cursor, stateBytes: facts.state?.bytes ?? UInt64(StateHead.maxBytes))
    let stateBytes = try cursor.bounded(request.maxStateFileBytes)
    let room = request.maxOutputBytes - stateBytes
    let entriesBytes = try cursor.bounded(room)
    let sectionsBytes = try cursor.bounded(room - entriesBytes)
    let isInOverflow = try cursor.flag()
    guard entriesBytes % UInt64(SaveFileEntry.byteCount) == 0,
      entriesBytes / UInt64(SaveFileEntry.byteCount) <= facts.entryCount,
      sectionsBytes % UInt64(StateSection.messageBytes) == 0,
      sectionsBytes / UInt64(StateSection.messageBytes) <= UInt64(StateSection.maxCount),
      facts.state == nil || facts.state?.bytes == stateBytes,
      !isInOverflow || request.hasOverflow
    else { throw MessageError() }
    if failure == nil {
      guard facts.format != nil, facts.state != nil || stateBytes == 0 else {
        throw MessageError()
      }
    }
    // A whole migration stream, which is larger than a state may be.
    let isNamed = failure != nil && head.kind == .migrationStream
    self.init(
      failure: failure, facts: facts, trailer: hasTrailer ? trailer : nil,
      head: hasTrailer || isNamed ? head : nil, stateBytes: stateBytes, entriesBytes: entriesBytes,
      sectionsBytes: sectionsBytes, isInOverflow: isInOverflow)
  }

  private static func failure(
    _ cursor: inout ByteCursor
  ) throws(MessageError) -> SaveFileFailure? {
    guard let kind = Failure(rawValue: cursor.littleEndianUInt64()) else { throw MessageError() }
    let fileError = try SaveFileError.parse(&cursor)
    let systemFailure = try DoorFailure.parse(&cursor)
    switch (kind, fileError, systemFailure) {
    case (.none, nil, nil): return nil
    case (.file, let error?, nil): return .file(error)
    case (.system, nil, .input(let error)?): return .input(error)
    case (.system, nil, .output(let error)?): return .output(error)
    default: throw MessageError()
    }
  }

  private static func facts(
    _ cursor: inout ByteCursor, _ request: DecodeRequest
  ) throws(MessageError) -> SaveFileFacts {
    let most = request.shape.totalBytes ?? UInt64(Int64.max)
    var facts = SaveFileFacts()
    let format = try cursor.bounded(UInt64(UInt32.max))
    if format != 0 {
      guard let known = SaveFileFormat(rawValue: UInt32(format)) else { throw MessageError() }
      facts.format = known
    }
    facts.bytes = try cursor.bounded(most)
    facts.bytesBehind = try cursor.bounded(most - facts.bytes)
    facts.entryCount = try cursor.bounded(most)
    let hasState = try cursor.flag()
    let offset = try cursor.bounded(most)
    let bytes = try cursor.bounded(min(most - offset, request.maxStateFileBytes))
    let structure = try cursor.bounded(UInt64(UInt8.max))
    let recordOffset = try cursor.bounded(offset)
    if hasState {
      guard let structure = SaveFileStructure(rawValue: UInt8(structure)) else {
        throw MessageError()
      }
      facts.state = SavedState(
        offset: offset, bytes: bytes, structure: structure, recordOffset: recordOffset)
    }
    return facts
  }
}

extension SaveFileError {
  static let messageBytes = 5 * 8

  /// Verdict or 0, structure, field, offset, found.
  fileprivate static func encode(_ error: SaveFileError?, into bytes: inout [UInt8]) {
    bytes.append(littleEndian: UInt64(error?.verdict.rawValue ?? 0))
    bytes.append(littleEndian: UInt64(error?.structure.rawValue ?? 0))
    bytes.append(littleEndian: UInt64(error?.field.rawValue ?? 0))
    bytes.append(littleEndian: error?.offset ?? 0)
    bytes.append(littleEndian: error?.found ?? 0)
  }

  fileprivate static func parse(
    _ cursor: inout ByteCursor
  ) throws(MessageError) -> SaveFileError? {
    let verdict = try cursor.bounded(UInt64(UInt8.max))
    let structure = try cursor.bounded(UInt64(UInt8.max))
    let field = try cursor.bounded(UInt64(UInt8.max))
    let offset = cursor.littleEndianUInt64()
    let found = cursor.littleEndianUInt64()
    guard let verdict = VerdictClass(rawValue: UInt8(verdict)) else { throw MessageError() }
    if verdict == .good { return nil }
    guard let structure = SaveFileStructure(rawValue: UInt8(structure)),
      let field = SaveFileField(rawValue: UInt8(field))
    else { throw MessageError() }
    return SaveFileError(verdict, structure, field, at: offset, found: found)
  }
}
