import SaveDisk
import SystemIO

/// Where the trailer of a state file ends, for a file at whose very end none is recognised
/// (formats/save-disk.md, section 10, "Finding it").
struct TrailerSearch: ~Copyable {
  enum Place {
    /// No trailer, and so many zeros at the end.
    case none(zeroBytes: UInt64)
    /// A trailer whose footer is gone, in full or in part; what is not zero ends there.
    case cut(UInt64)
    /// A trailer that ends there, and other bytes than zeros behind it, however many.
    case followed(UInt64)
    /// A footer, and zeros behind it.
    case footer(FoundFooter)
  }

  /// The rest of both magics are zeros, which a cut may have taken.
  private static let magicBytes = 13
  /// A footer's hash may end in so many zeros.
  private static let maxHashZeros: UInt64 = 8
  private static let pieceBytes = 262_144
  /// Of a magic that a cut has left, with fewer it may be chance.
  private static let leastCutBytes = 4
  /// So many footers are looked at where they lie further back than a trailer is long: each may cost a hash
  /// over `StateFile.maxTrailerBytes`, and a hostile file may be full of them.
  private static let maxLooks = 64

  /// - Parameter bytes: of the file.
  static func run(
    _ file: borrowing FileDescriptor, bytes: UInt64
  ) throws(SystemError) -> Place {
    let end = try endOfContent(file, bytes)
    let before = min(end, StateFile.maxTrailerBytes + UInt64(StateFooter.byteCount))
    let start = end - before
    // A magic that has been cut at its zeros ends at `end`; one that is whole has more behind it.
    let count = Int(min(bytes - start, before + UInt64(StateFooter.byteCount)))
    var buffer = AlignedBuffer(byteCount: max(count, 1))
    try StateFile.read(file, at: start, into: &buffer, count: count)
    let window = buffer.bytes(0..<count)
    if let offset = last(StateFooter.magic, in: window, from: 0) {
      let place = start + UInt64(offset) + UInt64(StateFooter.byteCount)
      if place > bytes { return .cut(end) }
      if place < end { return .followed(place) }
      if let found = try FoundFooter(file, endingAt: place) { return .footer(found) }
    }
    for place in end...(end + maxHashZeros) where place <= bytes {
      let found = try FoundFooter(
        file, endingAt: place, maxMetadataBytes: StateFile.maxTrailerBytes)
      if let found, found.isHashRight { return .footer(found) }
    }
    // A file that begins so is a save disk itself.
    if last(Layout.magic, in: window, from: start == 0 ? 1 : 0) != nil { return .cut(end) }
    let content = window.extracting(0..<Int(before))
    // A byte at least comes before it: a file that begins so is something else.
    let isAll = start == 0
    if endsInCut(StateFooter.magic, content, isAll) || endsInCut(Layout.magic, content, isAll) {
      return .cut(end)
    }
    if let place = try furtherBack(file, before: start) { return .followed(place) }
    return .none(zeroBytes: bytes - end)
  }

  /// The offset behind the last byte that is not zero. Read backwards: a volume may be filled up
  /// with many.
  private static func endOfContent(
    _ file: borrowing FileDescriptor, _ bytes: UInt64
  ) throws(SystemError) -> UInt64 {
    var buffer = AlignedBuffer(byteCount: pieceBytes)
    var end = bytes
    while end > 0 {
      let count = Int(min(end, UInt64(pieceBytes)))
      end -= UInt64(count)
      try StateFile.read(file, at: end, into: &buffer, count: count)
      if let last = buffer.bytes(0..<count).lastNonZero { return end + UInt64(last) + 1 }
    }
    return 0
  }

  /// Whether the last bytes are a magic's first.
  private static func endsInCut(_ magic: Bytes16, _ content: RawSpan, _ isAll: Bool) -> Bool {
    let most = min(magicBytes - 1, content.byteCount - (isAll ? 1 : 0))
    guard most >= leastCutBytes else { return false }
    for count in leastCutBytes...most {
      let start = content.byteCount - count
      var matching = 0
      while matching < count && content.byte(at: start + matching) == magic[matching] {
        matching += 1
      }
      if matching == count { return true }
    }
    return false
  }

  /// Where a trailer ends whose footer begins before `limit`, of several the first: a volume keeps
  /// behind a state what it had before.
  private static func furtherBack(
    _ file: borrowing FileDescriptor, before limit: UInt64
  ) throws(SystemError) -> UInt64? {
    let magicBytes = StateFooter.Offset.version
    var buffer = AlignedBuffer(byteCount: pieceBytes + magicBytes)
    var looks = 0
    var position: UInt64 = 0
    while position < limit {
      // More than a footer follows the limit.
      let starts = Int(min(limit - position, UInt64(pieceBytes)))
      let count = starts + magicBytes - 1
      try StateFile.read(file, at: position, into: &buffer, count: count)
      var offset = 0
      while let found = first(StateFooter.magic, in: buffer.bytes(0..<count), from: offset) {
        let end = position + UInt64(found + StateFooter.byteCount)
        if looks == maxLooks { return end }
        looks += 1
        let footer = try FoundFooter(
          file, endingAt: end, maxMetadataBytes: StateFile.maxTrailerBytes)
        if footer?.isHashRight == true { return end }
        offset = found + 1
      }
      position += UInt64(starts)
    }
    return nil
  }

  /// Where all of a magic begins for the first time.
  private static func first(_ magic: Bytes16, in window: RawSpan, from first: Int) -> Int? {
    let (lead, bytes) = (magic[0], StateFooter.Offset.version)
    var offset = first
    while offset + bytes <= window.byteCount {
      if window.byte(at: offset) == lead {
        var matching = 1
        while matching < bytes && window.byte(at: offset + matching) == magic[matching] {
          matching += 1
        }
        if matching == bytes { return offset }
      }
      offset += 1
    }
    return nil
  }

  /// Where a magic, without its zeros, begins for the last time.
  private static func last(
    _ magic: Bytes16, in window: RawSpan, from first: Int
  ) -> Int? {
    var offset = window.byteCount - magicBytes
    while offset >= first {
      if window.byte(at: offset) == magic[0] {
        var matching = 1
        while matching < magicBytes && window.byte(at: offset + matching) == magic[matching] {
          matching += 1
        }
        if matching == magicBytes { return offset }
      }
      offset -= 1
    }
    return nil
  }
}

/// What stands where a footer may be.
struct FoundFooter {
  /// Of its first byte.
  let start: UInt64
  let footer: StateFooter
  let isHashRight: Bool

  var end: UInt64 { start + UInt64(StateFooter.byteCount) }
  /// By its magic or by its hash, so that damage to one leaves the other.
  var isRecognised: Bool { isHashRight || footer.magic == StateFooter.magic }

  /// - Parameter maxMetadataBytes: a hash over more is not looked at.
  /// - Returns: nil where there is no room for one.
  init?(
    _ file: borrowing FileDescriptor, endingAt end: UInt64, maxMetadataBytes: UInt64 = .max
  ) throws(SystemError) {
    guard end >= UInt64(StateFooter.byteCount) else { return nil }
    start = end - UInt64(StateFooter.byteCount)
    var buffer = AlignedBuffer(byteCount: StateFooter.byteCount)
    try StateFile.read(file, at: start, into: &buffer, count: StateFooter.byteCount)
    footer = StateFooter(parsing: buffer.bytes(0..<StateFooter.byteCount))
    guard footer.metadataBytes <= min(start, maxMetadataBytes) else {
      isHashRight = false
      return
    }
    var hash = WordHashStream()
    try StateFile.forEachPiece(
      file, from: start - footer.metadataBytes, bytes: footer.metadataBytes
    ) {
      hash.update($0)
    }
    hash.update(buffer.bytes(StateFooter.hashedBytes))
    isHashRight = hash.value() == footer.hash
  }
}
