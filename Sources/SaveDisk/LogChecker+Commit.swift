extension LogChecker {
  /// C1 to C9.
  mutating func checkCommit(_ body: RawSpan) throws(DiskError) -> LogEvent {
    typealias Offset = Layout.Commit
    let start = Layout.Record.body
    func require(
      _ found: UInt64, _ expected: UInt64, _ field: DiskField, _ offset: Int
    ) throws(DiskError) {
      guard found == expected else {
        throw corrupt(.commit, field, start + offset, found: found, expected: expected)
      }
    }
    var cursor = ByteCursor(body)
    guard cursor.bytes16() == header.transferID else {
      throw corrupt(.commit, .transferID, start + Offset.transferID)
    }
    guard cursor.bytes16() == headerHash else {
      throw corrupt(.commit, .headerHash, start + Offset.headerHash)
    }
    let digest = cursor.bytes16()
    let logBytes = position - UInt64(Layout.blockBytes)
    try require(cursor.littleEndianUInt64(), logBytes, .logBytes, Offset.logBytes)
    guard digest == currentLogDigest else {
      throw corrupt(.commit, .logDigest, start + Offset.logDigest)
    }
    try require(cursor.littleEndianUInt64(), recordCount, .recordCount, Offset.recordCount)
    try require(cursor.littleEndianUInt64(), rawBytes, .rawBytes, Offset.rawBytes)
    try require(cursor.littleEndianUInt64(), storedBytes, .storedBytes, Offset.storedBytes)
    try require(
      UInt64(cursor.littleEndianUInt32()), UInt64(streamCount), .streamCount, Offset.streamCount)
    if let offset = cursor.firstNonZero(count: Offset.bodyBytes - Offset.reserved) {
      throw corrupt(.commit, .reserved, start + offset)
    }
    isCommitted = true
    return .commit
  }

  /// Where the save disk ends: the first multiple of 4096 at or after the end of the commit.
  public var diskEnd: UInt64 { Layout.aligned(position, to: Layout.blockBytes) }

  /// C11 to C13, after the commit has been accepted.
  ///
  /// - Parameters:
  ///   - padding: the bytes from `position` to `diskEnd`, or as many as there are.
  ///   - trailing: what an archive that does not end at `diskEnd` has there; nil if it ends, or is none.
  public func finish(padding: RawSpan, trailing: TrailingBytes?) throws(DiskError) {
    precondition(isCommitted)
    let available = position + UInt64(padding.byteCount)
    guard available >= diskEnd else {
      throw DiskError(
        .incomplete, .commit, .end, at: available, found: available, expected: diskEnd)
    }
    if let offset = padding.firstNonZero {
      throw DiskError(.corrupt, .commit, .padding, at: position + UInt64(offset))
    }
    if let trailing {
      throw DiskError(
        .corrupt, .disk, .trailing, at: diskEnd, found: trailing.count,
        expected: trailing.isWhole ? diskEnd : 0)
    }
  }
}

/// What follows the end of an archive.
public struct TrailingBytes: Sendable, BitwiseCopyable {
  /// 0 if it is not known how many they are: of a pipe.
  let count: UInt64
  /// The archive is all of the input, so that it could be cut where it ends.
  let isWhole: Bool

  public init(count: UInt64, isWhole: Bool) {
    self.count = count
    self.isWhole = isWhole
  }
}
