extension LogChecker {
  /// R12, R13, 7.3 and 7.4 up to C9.
  mutating func check(_ record: RecordHeader, body: RawSpan) throws(DiskError) -> LogEvent {
    let typeNumber = UInt64(record.type.number)
    guard typeNumber != 0 else {  // R12
      throw corrupt(.record, .type, Layout.Record.type)
    }
    guard record.type.isKnown else {
      if record.type.isOptional { return .optional(record) }
      throw DiskError(  // R13
        .unsupported, .record, .type, at: position + UInt64(Layout.Record.type), found: typeNumber)
    }
    guard mayStandHere(record.type) else {  // K1
      throw corrupt(.record, .type, Layout.Record.type, found: typeNumber)
    }
    try checkCommonFields(record)
    switch record.type {
    case .streamBegin: return try checkStreamBegin(body)
    case .chunk: return try checkChunk(record)
    case .streamEnd: return try checkStreamEnd(body)
    case .commit: return try checkCommit(body)
    default: throw try checkAbort(body)
    }
  }

  private func mayStandHere(_ type: RecordType) -> Bool {
    switch type {
    case .streamBegin: open == nil
    case .chunk: open.map { !$0.isShort } ?? false
    case .streamEnd: open != nil
    case .commit: open == nil && streamCount > 0
    default: true
    }
  }

  /// K2 to K5.
  private func checkCommonFields(_ record: RecordHeader) throws(DiskError) {
    let stream: Int
    switch record.type {
    case .streamBegin: stream = streamCount
    case .chunk, .streamEnd: stream = streamCount - 1
    default: stream = 0
    }
    guard record.stream == stream else {
      throw corrupt(
        .record, .stream, Layout.Record.stream, found: UInt64(record.stream),
        expected: UInt64(stream))
    }
    guard let bodyBytes = record.type.bodyBytes else { return }
    guard record.codec == .none else {
      throw corrupt(.record, .codec, Layout.Record.codec, found: UInt64(record.codec.number))
    }
    guard record.rawBytes == 0 else {
      throw corrupt(.record, .rawBytes, Layout.Record.rawBytes, found: UInt64(record.rawBytes))
    }
    guard record.storedBytes == bodyBytes else {
      throw corrupt(
        .record, .storedBytes, Layout.Record.storedBytes, found: UInt64(record.storedBytes),
        expected: UInt64(bodyBytes))
    }
  }

  /// B1 to B9, in the document's order.
  private mutating func checkStreamBegin(_ body: RawSpan) throws(DiskError) -> LogEvent {
    typealias Offset = Layout.StreamBegin
    let start = Layout.Record.body
    var cursor = ByteCursor(body)
    guard cursor.bytes16() == header.transferID else {
      throw corrupt(.streamBegin, .transferID, start + Offset.transferID)
    }
    let nameBytes = cursor.littleEndianUInt32()
    guard nameBytes >= 1 && nameBytes <= FormatLimits.maxNameBytes else {
      throw corrupt(
        .streamBegin, .nameBytes, start + Offset.nameBytes, found: UInt64(nameBytes),
        expected: UInt64(FormatLimits.maxNameBytes))
    }
    let flags = StreamFlags(bits: cursor.littleEndianUInt32())
    guard flags.isValid else {
      throw corrupt(.streamBegin, .flags, start + Offset.flags, found: UInt64(flags.bits))
    }
    if let offset = cursor.firstNonZero(count: Offset.name - Offset.reserved) {
      throw corrupt(.streamBegin, .reserved, start + offset)
    }
    let nameEnd = Offset.name + Int(nameBytes)
    let nameSpan = body.extracting(Offset.name..<nameEnd)
    if let offset = StreamName.firstInvalid(in: nameSpan) {
      throw corrupt(
        .streamBegin, .name, start + Offset.name + offset,
        found: UInt64(nameSpan.byte(at: offset)))
    }
    if let offset = body.extracting(nameEnd..<Offset.bodyBytes).firstNonZero {
      throw corrupt(.streamBegin, .name, start + nameEnd + offset)
    }
    guard let name = StreamName(validating: nameSpan) else { preconditionFailure() }
    for index in 0..<streamCount where names[index] == name {
      throw corrupt(.streamBegin, .name, start + Offset.name)
    }
    guard streamCount < header.maxStreams else {
      throw corrupt(
        .record, .stream, Layout.Record.stream, found: UInt64(streamCount) + 1,
        expected: UInt64(header.maxStreams))
    }
    guard flags != .mustUnderstand || knownStreams.contain(name) else {
      throw DiskError(
        .unsupported, .streamBegin, .flags, at: position + UInt64(start + Offset.flags),
        found: UInt64(flags.bits))
    }
    let index = streamCount
    names[index] = name
    streamCount += 1
    open = OpenStream()
    rawDigest.reset()
    return .streamBegin(index: index, name: name, flags: flags)
  }

  /// D1 to D6.
  private mutating func checkChunk(_ record: RecordHeader) throws(DiskError) -> LogEvent {
    guard var stream = open else { preconditionFailure() }
    let codecNumber = UInt64(record.codec.number)
    guard header.allowedCodecs.contains(record.codec) else {
      throw corrupt(
        .record, .codec, Layout.Record.codec, found: codecNumber,
        expected: UInt64(header.allowedCodecs.bits))
    }
    guard acceptedCodecs.contains(record.codec) else {
      throw DiskError(
        .unsupported, .record, .codec, at: position + UInt64(Layout.Record.codec),
        found: codecNumber, expected: UInt64(acceptedCodecs.bits))
    }
    guard record.rawBytes >= 1 && record.rawBytes <= header.chunkBytes else {
      throw corrupt(
        .record, .rawBytes, Layout.Record.rawBytes, found: UInt64(record.rawBytes),
        expected: UInt64(header.chunkBytes))
    }
    guard record.hasPossibleStoredBytes else {
      throw corrupt(
        .record, .storedBytes, Layout.Record.storedBytes, found: UInt64(record.storedBytes),
        expected: UInt64(record.rawBytes))
    }
    let sum = rawBytes + UInt64(record.rawBytes)
    guard header.maxRawBytes == 0 || sum <= header.maxRawBytes else {
      throw corrupt(
        .record, .rawBytes, Layout.Record.rawBytes, found: sum, expected: header.maxRawBytes)
    }
    guard sum <= limits.maxStateBytes else {
      throw DiskError(
        .overLimit, .record, .rawBytes, at: position + UInt64(Layout.Record.rawBytes),
        found: sum, expected: limits.maxStateBytes)
    }
    rawBytes = sum
    storedBytes += UInt64(record.storedBytes)
    stream.rawBytes += UInt64(record.rawBytes)
    stream.storedBytes += UInt64(record.storedBytes)
    stream.chunkCount += 1
    stream.isShort = record.rawBytes < header.chunkBytes
    open = stream
    return .chunk(record)
  }

  /// S1 to S4.
  private mutating func checkStreamEnd(_ body: RawSpan) throws(DiskError) -> LogEvent {
    typealias Offset = Layout.StreamEnd
    guard let stream = open else { preconditionFailure() }
    let start = Layout.Record.body
    var cursor = ByteCursor(body)
    let digest = cursor.bytes16()
    let raw = cursor.littleEndianUInt64()
    guard raw == stream.rawBytes else {
      throw corrupt(
        .streamEnd, .rawBytes, start + Offset.rawBytes, found: raw, expected: stream.rawBytes)
    }
    let chunks = cursor.littleEndianUInt64()
    guard chunks == stream.chunkCount else {
      throw corrupt(
        .streamEnd, .chunkCount, start + Offset.chunkCount, found: chunks,
        expected: stream.chunkCount)
    }
    if let offset = cursor.firstNonZero(count: Offset.bodyBytes - Offset.reserved) {
      throw corrupt(.streamEnd, .reserved, start + offset)
    }
    guard !isDecoding || digest == rawDigest.value() else {
      throw corrupt(.streamEnd, .digest, start + Offset.digest)
    }
    open = nil
    let index = streamCount - 1
    return .streamEnd(
      StreamSummary(
        index: index, name: names[index], rawBytes: raw, storedBytes: stream.storedBytes,
        chunkCount: chunks, digest: digest))
  }

  /// A1, then A2: an abort record that is right is itself the verdict.
  private func checkAbort(_ body: RawSpan) throws(DiskError) -> DiskError {
    typealias Offset = Layout.Abort
    var cursor = ByteCursor(body)
    let code = cursor.littleEndianUInt32()
    if let offset = cursor.firstNonZero(count: Offset.bodyBytes - Offset.reserved) {
      throw corrupt(.abort, .reserved, Layout.Record.body + offset)
    }
    return DiskError(
      .incomplete, .abort, .code, at: position + UInt64(Layout.Record.body), found: UInt64(code))
  }
}

extension RecordHeader {
  /// D4: section 6's rule on a chunk's stored length.
  fileprivate var hasPossibleStoredBytes: Bool {
    switch codec {
    case .none: storedBytes == rawBytes
    case .zeros: storedBytes == 0
    default: storedBytes >= 1 && storedBytes < rawBytes
    }
  }
}
