import SaveDisk
import Transfer

extension SaveFileWalk {
  private static let headerBytes = 16

  /// Pairs of a header and a record, up to End_of_image (ocaml/xenopsd/lib/suspend_image.ml).
  mutating func readSuspendImage() throws(SaveFileFailure) {
    let count = SaveFileFormat.xenopsd.magicBytes
    try need(count, of: .suspendImage)
    guard input.bytes(count).begins(with: SaveFileFormat.xenopsd.magic) else {
      throw fail(.unsupported, .suspendImage, .signature, at: 0)
    }
    consume(count)
    accept(SaveFileEntry(.suspendImage, at: 0, bytes: UInt64(count)))
    var hasMemory = false
    while try readImageRecord(&hasMemory) {}
  }

  /// - Returns: false after the last one.
  private mutating func readImageRecord(
    _ hasMemory: inout Bool
  ) throws(SaveFileFailure) -> Bool {
    let start = position
    try need(SaveFileWalk.headerBytes, of: .suspendImageHeader)
    let (number, length) = SaveFileWalk.header(input.bytes(SaveFileWalk.headerBytes))
    guard let type = ImageRecordType(rawValue: number) else {
      // What was lost reads as zeros.
      let verdict = number == 0 ? VerdictClass.corrupt : .unsupported
      throw fail(verdict, .suspendImageHeader, .type, at: start, found: number)
    }
    let structure = type.structure
    try require(type, number, length, at: start, hasMemory)
    consume(SaveFileWalk.headerBytes)
    let entry = SaveFileEntry(structure, at: start, bytes: length, type: number)
    switch type {
    case .libxc:
      hasMemory = true
      accept(entry)
      var stream = try readLibxcHeaders(isInLibxlStream: false)
      // Without a libxl stream around it only END ends it.
      _ = try readLibxcRecords(&stream)
    case .libxl:
      hasMemory = true
      accept(entry)
      try readLibxlStream()
    case .qemuTrad, .qemuXen:
      try copyState(length, structure, recordOffset: start)
      accept(entry)
    default:
      try skip(length, of: structure)
      accept(entry)
    }
    return type != .endOfImage
  }

  private func require(
    _ type: ImageRecordType, _ number: UInt64, _ length: UInt64, at start: UInt64,
    _ hasMemory: Bool
  ) throws(SaveFileFailure) {
    let structure = type.structure
    switch type {
    case .libxcLegacy: throw fail(.unsupported, structure, .type, at: start, found: number)
    case .libxc where hasMemory, .libxl where hasMemory, .endOfImage where !hasMemory:
      throw fail(.corrupt, structure, .type, at: start, found: number)
    case .demu where length == 0: throw fail(.unsupported, structure, .length, at: start + 8)
    default: break
    }
    let isEmpty = type == .libxc || type == .libxl || type == .endOfImage
    let most =
      isEmpty ? 0 : UInt64(Int64.max) - position - UInt64(SaveFileWalk.headerBytes)
    if length > most {
      throw fail(.corrupt, structure, .length, at: start + 8, found: length)
    }
  }

  private static func header(_ bytes: RawSpan) -> (type: UInt64, length: UInt64) {
    var cursor = ByteCursor(bytes)
    let type = cursor.littleEndianUInt64()
    return (type, cursor.littleEndianUInt64())
  }
}
