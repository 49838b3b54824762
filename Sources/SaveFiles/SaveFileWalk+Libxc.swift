import SaveDisk
import Transfer

/// What the headers of a libxc stream say, and how far it has come.
struct LibxcStream {
  let version: UInt32
  let guest: GuestType
  /// Otherwise there is nobody to hand a checkpoint back to.
  let isInLibxlStream: Bool
  var hasStaticDataEnd = false

  func knows(_ type: LibxcRecordType) -> Bool {
    version >= 3 || type.rawValue <= LibxcRecordType.lastOfVersion2.rawValue
  }

  /// Whether a record of this type may come next.
  func allows(_ type: LibxcRecordType) -> Bool {
    guard type.fits(guest) else { return false }
    switch type {
    case .checkpointDirtyPFNList: return false
    case .staticDataEnd: return !hasStaticDataEnd
    case .pageData: return version < 3 || hasStaticDataEnd
    case .checkpoint: return isInLibxlStream
    default: return true
    }
  }
}

/// With which record libxc's part of a stream has ended.
enum LibxcEnd {
  case end, checkpoint
}

extension SaveFileWalk {
  private static let pageShift: UInt32 = 12
  private static let pageBytes: UInt64 = 4096
  /// REC_LENGTH_MAX.
  private static let maxBodyBytes: UInt32 = 128 << 20

  mutating func readLibxcHeaders(
    isInLibxlStream: Bool
  ) throws(SaveFileFailure) -> LibxcStream {
    let version = try readImageHeader()
    let guest = try readDomainHeader()
    return LibxcStream(version: version, guest: guest, isInLibxlStream: isInLibxlStream)
  }

  private mutating func readImageHeader() throws(SaveFileFailure) -> UInt32 {
    let start = position
    let structure = SaveFileStructure.imageHeader
    try need(ImageHeader.byteCount, of: structure)
    let header = ImageHeader(parsing: input.bytes(ImageHeader.byteCount))
    guard header.marker == .max else { throw fail(.corrupt, structure, .marker, at: start) }
    guard header.id == ImageHeader.id else { throw fail(.corrupt, structure, .id, at: start + 8) }
    guard header.version == 2 || header.version == 3 else {
      throw fail(.unsupported, structure, .version, at: start + 12, found: UInt64(header.version))
    }
    guard header.options == 0 else {
      throw fail(.unsupported, structure, .options, at: start + 16, found: UInt64(header.options))
    }
    try requireZeros(ImageHeader.reserved, structure, .reserved)
    consume(ImageHeader.byteCount)
    accept(
      SaveFileEntry(
        structure, at: start, bytes: UInt64(ImageHeader.byteCount), first: UInt64(header.version)))
    return header.version
  }

  private mutating func readDomainHeader() throws(SaveFileFailure) -> GuestType {
    let start = position
    let structure = SaveFileStructure.domainHeader
    try need(DomainHeader.byteCount, of: structure)
    let header = DomainHeader(parsing: input.bytes(DomainHeader.byteCount))
    guard let guest = GuestType(rawValue: header.type) else {
      throw fail(.unsupported, structure, .type, at: start, found: UInt64(header.type))
    }
    guard header.pageShift == SaveFileWalk.pageShift else {
      throw fail(
        .unsupported, structure, .pageShift, at: start + 4, found: UInt64(header.pageShift))
    }
    try requireZeros(DomainHeader.reserved, structure, .reserved)
    consume(DomainHeader.byteCount)
    accept(
      SaveFileEntry(
        structure, at: start, bytes: UInt64(DomainHeader.byteCount), first: UInt64(header.type),
        second: UInt64(header.xenMajor) << 32 | UInt64(header.xenMinor)))
    return guest
  }

  /// Up to its END or the next CHECKPOINT.
  mutating func readLibxcRecords(
    _ stream: inout LibxcStream
  ) throws(SaveFileFailure) -> LibxcEnd {
    var last: LibxcRecordType?
    while true {
      let head = try readRecordHead(.libxcRecord)
      guard let type = LibxcRecordType(rawValue: head.type), stream.knows(type) else {
        try passOver(head, .libxcRecord, maxBodyBytes: SaveFileWalk.maxBodyBytes)
        continue
      }
      let structure = type.structure
      guard stream.allows(type) else {
        throw fail(.corrupt, structure, .type, at: head.offset, found: UInt64(head.type))
      }
      guard head.bodyBytes <= SaveFileWalk.maxBodyBytes, type.allows(bodyBytes: head.bodyBytes)
      else { throw wrongLength(head, structure) }
      let values = try readBody(head, type)
      try readPadding(head.bodyBytes, of: structure)
      accept(head.entry(structure, first: values.first, second: values.second))
      defer { last = type }
      switch type {
      case .end: return .end
      case .checkpoint: return .checkpoint
      case .staticDataEnd:
        stream.hasStaticDataEnd = true
        hasLastRecords = false
      // Xen writes this one for every processor, the next two not always.
      case .x86PVVcpuExtended: hasLastRecords = true
      case .x86PVVcpuXsave, .x86PVVcpuMSRs: break
      case .hvmParams: hasLastRecords = isPVH && last == .hvmContext
      // What comes first, memory or a further processor, has an end of its own.
      default: hasLastRecords = false
      }
    }
  }

  func wrongLength(_ head: RecordHead, _ structure: SaveFileStructure) -> SaveFileFailure {
    fail(.corrupt, structure, .bodyLength, at: head.offset + 4, found: UInt64(head.bodyBytes))
  }

  private typealias Values = (first: UInt32, second: UInt64)

  /// What a record's type says of its body; the rest is passed over.
  private mutating func readBody(
    _ head: RecordHead, _ type: LibxcRecordType
  ) throws(SaveFileFailure) -> Values {
    let structure = type.structure
    switch type {
    case .pageData: return try readPageData(head)
    case .hvmParams: return try readHVMParams(head)
    case .x86PVInfo: try readPVInfo()
    case .x86PVP2MFrames:
      let (start, end) = try readTwoNumbers(structure)
      guard start <= end else {
        throw fail(.corrupt, structure, .p2mStartPFN, at: position, found: UInt64(start))
      }
    case .x86PVVcpuBasic, .x86PVVcpuExtended, .x86PVVcpuXsave, .x86PVVcpuMSRs:
      let (vcpu, _) = try readTwoNumbers(structure)
      try requireZeros(4..<8, structure, .reserved)
      try skip(UInt64(head.bodyBytes), of: structure)
      return (vcpu, 0)
    case .x86TSCInfo:
      try need(24, of: structure)
      try requireZeros(20..<24, structure, .reserved)
    default: break
    }
    try skip(UInt64(head.bodyBytes), of: structure)
    return (0, 0)
  }

  /// Not consumed.
  private mutating func readTwoNumbers(
    _ structure: SaveFileStructure
  ) throws(SaveFileFailure) -> (UInt32, UInt32) {
    try need(8, of: structure)
    return input.bytes(8).twoNumbers
  }

  /// Not consumed.
  private mutating func readPVInfo() throws(SaveFileFailure) {
    let structure = SaveFileStructure.x86PVInfo
    try need(8, of: structure)
    let width = input.bytes(8).byte(at: 0)
    let levels = input.bytes(8).byte(at: 1)
    guard width == 4 || width == 8 else {
      throw fail(.corrupt, structure, .guestWidth, at: position, found: UInt64(width))
    }
    guard levels == 3 || levels == 4 else {
      throw fail(.corrupt, structure, .ptLevels, at: position + 1, found: UInt64(levels))
    }
    try requireZeros(2..<8, structure, .reserved)
  }

  private mutating func readHVMParams(_ head: RecordHead) throws(SaveFileFailure) -> Values {
    let structure = SaveFileStructure.hvmParams
    let (count, _) = try readTwoNumbers(structure)
    guard 8 + 16 * UInt64(count) == UInt64(head.bodyBytes) else {
      throw fail(.corrupt, structure, .count, at: position, found: UInt64(count))
    }
    try requireZeros(4..<8, structure, .reserved)
    try skip(UInt64(head.bodyBytes), of: structure)
    return (count, 0)
  }

  /// The guest's memory: which pages, and those that have contents, which are passed over.
  private mutating func readPageData(_ head: RecordHead) throws(SaveFileFailure) -> Values {
    let structure = SaveFileStructure.pageData
    let (count, _) = try readTwoNumbers(structure)
    let numbersEnd = 8 + 8 * UInt64(count)
    guard count != 0 && numbersEnd <= UInt64(head.bodyBytes) else {
      throw fail(.corrupt, structure, .count, at: position, found: UInt64(count))
    }
    try requireZeros(4..<8, structure, .reserved)
    consume(8)
    var left = 8 * UInt64(count)
    var numbers = PageNumbers()
    while left > 0 {
      let wanted = Int(min(left, UInt64(SaveFileWalk.pieceBytes)))
      let piece = try fetch(wanted)
      if let wrong = numbers.take(input.bytes(piece)) {
        throw fail(.corrupt, structure, .pfn, at: position + UInt64(wrong))
      }
      if piece < wanted { throw end(of: structure, behind: piece) }
      consume(piece)
      left -= UInt64(piece)
    }
    let pagesBytes = SaveFileWalk.pageBytes * numbers.pages
    guard numbersEnd + pagesBytes == UInt64(head.bodyBytes) else {
      throw wrongLength(head, structure)
    }
    try skip(pagesBytes, of: structure)
    return (count, numbers.pages)
  }
}
