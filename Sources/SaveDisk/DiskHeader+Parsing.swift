extension DiskHeader {
  /// A header together with its stored hash, which the commit repeats.
  public struct Parsed: Sendable, BitwiseCopyable {
    public let header: DiskHeader
    public let hash: Bytes16
  }

  /// Checks H1 to H15 in the document's order: first the hash, then what it covers.
  ///
  /// - Parameter block: the first 4096 bytes of the input, or all of a shorter one.
  public static func parse(_ block: RawSpan) throws(DiskError) -> Parsed {
    func failure(
      _ verdict: VerdictClass, _ field: DiskField, _ offset: Int, found: UInt64 = 0,
      expected: UInt64 = 0
    ) -> DiskError {
      DiskError(verdict, .header, field, at: UInt64(offset), found: found, expected: expected)
    }
    guard block.byteCount >= Layout.blockBytes else {  // H1, H15
      throw failure(
        beginsWithMagic(block) ? .incomplete : .notASaveDisk, .end, block.byteCount,
        found: UInt64(block.byteCount), expected: UInt64(Layout.blockBytes))
    }
    var cursor = ByteCursor(block)
    guard cursor.bytes16() == Layout.magic else {  // H2
      throw failure(.notASaveDisk, .magic, Layout.Header.magic)
    }
    var hashCursor = ByteCursor(block.extracting(Layout.Header.hash..<Layout.blockBytes))
    let hash = hashCursor.bytes16()
    guard Hash.digest(block.extracting(0..<Layout.Header.hash)) == hash else {  // H3
      throw failure(.corrupt, .hash, Layout.Header.hash)
    }
    return Parsed(header: try parseFields(&cursor, failure: failure), hash: hash)
  }

  private static func beginsWithMagic(_ block: RawSpan) -> Bool {
    guard block.byteCount >= Layout.Header.version else { return false }
    var cursor = ByteCursor(block)
    return cursor.bytes16() == Layout.magic
  }

  private typealias Failure = (VerdictClass, DiskField, Int, UInt64, UInt64) -> DiskError

  /// H4 to H14. The cursor stands behind the magic.
  private static func parseFields(
    _ cursor: inout ByteCursor, failure: Failure
  ) throws(DiskError) -> DiskHeader {
    var header = DiskHeader()
    let version = cursor.littleEndianUInt32()
    guard version == Layout.version else {
      throw failure(
        .unsupported, .version, Layout.Header.version, UInt64(version), UInt64(Layout.version))
    }
    let features = cursor.littleEndianUInt32()
    guard features & ~Layout.knownFeatures == 0 else {
      throw failure(
        .unsupported, .requiredFeatures, Layout.Header.requiredFeatures, UInt64(features),
        UInt64(Layout.knownFeatures))
    }
    let direction = cursor.littleEndianUInt32()
    guard let knownDirection = Direction(rawValue: direction) else {
      throw failure(.corrupt, .direction, Layout.Header.direction, UInt64(direction), 0)
    }
    header.direction = knownDirection
    header.chunkBytes = cursor.littleEndianUInt32()
    guard isChunkSize(header.chunkBytes) else {
      throw failure(
        .corrupt, .chunkBytes, Layout.Header.chunkBytes, UInt64(header.chunkBytes), 0)
    }
    header.transferID = cursor.bytes16()
    guard !header.transferID.isZero else {
      throw failure(.corrupt, .transferID, Layout.Header.transferID, 0, 0)
    }
    header.capacityBytes = cursor.littleEndianUInt64()
    guard isCapacity(header.capacityBytes) else {
      throw failure(.corrupt, .capacityBytes, Layout.Header.capacityBytes, header.capacityBytes, 0)
    }
    header.maxRawBytes = cursor.littleEndianUInt64()
    header.allowedCodecs = CodecSet(bits: cursor.littleEndianUInt32())
    guard header.allowedCodecs.isSuperset(of: .always) else {
      throw failure(
        .corrupt, .allowedCodecs, Layout.Header.allowedCodecs, UInt64(header.allowedCodecs.bits),
        UInt64(CodecSet.always.bits))
    }
    header.maxStreams = cursor.littleEndianUInt32()
    guard header.maxStreams >= 1 && header.maxStreams <= FormatLimits.maxStreams else {
      throw failure(
        .corrupt, .maxStreams, Layout.Header.maxStreams, UInt64(header.maxStreams),
        UInt64(FormatLimits.maxStreams))
    }
    header.recipientDomid = cursor.littleEndianUInt32()
    guard isDomid(header.recipientDomid) else {
      throw failure(
        .corrupt, .recipientDomid, Layout.Header.recipientDomid, UInt64(header.recipientDomid),
        UInt64(FormatLimits.maxDomid))
    }
    header.targetDomid = cursor.littleEndianUInt32()
    guard isDomid(header.targetDomid) else {
      throw failure(
        .corrupt, .targetDomid, Layout.Header.targetDomid, UInt64(header.targetDomid),
        UInt64(FormatLimits.maxDomid))
    }
    header.targetUUID = cursor.bytes16()
    header.compatibleFeatures = cursor.littleEndianUInt32()
    if let position = cursor.firstNonZero(count: Layout.Header.hash - Layout.Header.reserved) {
      throw failure(.corrupt, .reserved, position, 0, 0)
    }
    return header
  }

  /// A power of two from 64 KiB to 1 MiB.
  public static func isChunkSize(_ bytes: UInt32) -> Bool {
    bytes >= FormatLimits.minChunkBytes && bytes <= FormatLimits.maxChunkBytes
      && bytes.nonzeroBitCount == 1
  }

  /// 0, or a multiple of 4096 from 8192 to 2^62.
  public static func isCapacity(_ bytes: UInt64) -> Bool {
    bytes == 0
      || (bytes % UInt64(Layout.blockBytes) == 0 && bytes >= FormatLimits.minCapacityBytes
        && bytes <= FormatLimits.maxCapacityBytes)
  }

  static func isDomid(_ domid: UInt32) -> Bool {
    domid <= FormatLimits.maxDomid || domid == domidNotStated
  }
}
