import SaveDisk
import SystemIO

/// The verdict as the decoder's process writes it: fixed size, little-endian. What has read bytes
/// from outside may be in an attacker's hands: nothing of it is taken that a decoder at its senses
/// could not have said.
extension DoorVerdict {
  public static let messageBytes =
    Layout.blockBytes + DoorFailure.messageBytes + 11 * 8 + FormatLimits.maxStreams
    * StreamSummary.messageBytes

  /// Header block or zeros; failure; length of the input and whether it is known; streams begun
  /// and finished, records, optional records, raw, stored and disk bytes; output bytes, and
  /// whether they are in the overflow; 16 summaries.
  public func encode(into bytes: inout [UInt8]) {
    bytes += DoorVerdict.block(facts.header)
    DoorFailure.encode(failure, into: &bytes)
    bytes.append(littleEndian: UInt64(facts.inputBytes == nil ? 0 : 1))
    bytes.append(littleEndian: facts.inputBytes ?? 0)
    bytes.append(littleEndian: UInt64(facts.startedStreams))
    bytes.append(littleEndian: UInt64(facts.finishedStreams))
    bytes.append(littleEndian: facts.recordCount)
    bytes.append(littleEndian: facts.optionalRecords)
    bytes.append(littleEndian: facts.rawBytes)
    bytes.append(littleEndian: facts.storedBytes)
    bytes.append(littleEndian: facts.diskBytes)
    bytes.append(littleEndian: outputBytes)
    bytes.append(littleEndian: UInt64(isInOverflow ? 1 : 0))
    for index in 0..<FormatLimits.maxStreams {
      facts.summaries[index].encode(into: &bytes)
    }
  }

  private static func block(_ header: DiskHeader.Parsed?) -> [UInt8] {
    var buffer = AlignedBuffer(byteCount: Layout.blockBytes)
    var block = buffer.mutableBytes(0..<Layout.blockBytes)
    block.zero(from: 0, count: Layout.blockBytes)
    header?.header.encode(into: &block)
    return buffer.array(0..<Layout.blockBytes)
  }

  /// - Parameters:
  ///   - message: of `messageBytes`.
  ///   - shape: what the disk lies in.
  ///   - maxOutputBytes: what the task may write.
  public init(
    parsing message: RawSpan, shape: InputShape, limits: ReaderLimits, maxOutputBytes: UInt64
  ) throws(MessageError) {
    guard message.byteCount == DoorVerdict.messageBytes else { throw MessageError() }
    var facts = DiskFacts()
    facts.header = try DoorVerdict.header(message.extracting(0..<Layout.blockBytes))
    var cursor = ByteCursor(message.extracting(Layout.blockBytes..<message.byteCount))
    let failure = try DoorFailure.parse(&cursor)
    let isInputKnown = try cursor.flag()
    let inputBytes = cursor.littleEndianUInt64()
    guard shape.totalBytes == (isInputKnown ? inputBytes : nil) else { throw MessageError() }
    facts.inputBytes = shape.totalBytes
    facts.startedStreams = try cursor.count(atMost: UInt64(FormatLimits.maxStreams))
    let finished = try cursor.count(atMost: UInt64(facts.startedStreams))
    facts.recordCount = try cursor.bounded(limits.maxLogBytes / UInt64(Layout.recordHeaderBytes))
    facts.optionalRecords = try cursor.bounded(facts.recordCount)
    facts.rawBytes = try cursor.bounded(limits.maxStateBytes)
    facts.storedBytes = try cursor.bounded(limits.maxLogBytes)
    facts.diskBytes = try cursor.bounded(
      min(limits.maxDiskBytes, shape.totalBytes ?? .max))
    let outputBytes = try cursor.bounded(maxOutputBytes)
    let isInOverflow = try cursor.flag()
    for index in 0..<FormatLimits.maxStreams {
      let summary = try StreamSummary(parsing: &cursor, index: index, facts)
      if index < finished { facts.add(summary) }
    }
    if failure == nil {
      // A good disk has a header, a stream, and a length.
      guard facts.header != nil, facts.finishedStreams == facts.startedStreams,
        facts.diskBytes >= FormatLimits.minCapacityBytes,
        facts.diskBytes % UInt64(Layout.blockBytes) == 0
      else { throw MessageError() }
    }
    self.init(
      failure: failure, facts: facts, outputBytes: outputBytes, isInOverflow: isInOverflow)
  }

  private static func header(_ block: RawSpan) throws(MessageError) -> DiskHeader.Parsed? {
    if block.isAllZero { return nil }
    do throws(DiskError) { return try DiskHeader.parse(block) } catch { throw MessageError() }
  }
}

extension StreamSummary {
  static let messageBytes = 32 + 8 + 3 * 8 + 16

  fileprivate func encode(into bytes: inout [UInt8]) {
    for index in 0..<32 { bytes.append(index < name.count ? name[index] : 0) }
    bytes.append(littleEndian: UInt64(name.count))
    bytes.append(littleEndian: rawBytes)
    bytes.append(littleEndian: storedBytes)
    bytes.append(littleEndian: chunkCount)
    bytes.append(littleEndian: digest.first)
    bytes.append(littleEndian: digest.last)
  }

  fileprivate init(
    parsing cursor: inout ByteCursor, index: Int, _ facts: DiskFacts
  ) throws(MessageError) {
    let name = try cursor.streamName()
    self.init(
      index: index, name: name, rawBytes: try cursor.bounded(facts.rawBytes),
      storedBytes: try cursor.bounded(facts.storedBytes),
      chunkCount: try cursor.bounded(facts.recordCount), digest: cursor.bytes16())
  }
}
