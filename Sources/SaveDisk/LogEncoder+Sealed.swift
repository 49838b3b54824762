/// Makes the records of the chunks that come next in a stream, in any order and on any thread:
/// what depends on those before is left to `LogEncoder.chunk(raw:sealed:)`.
public struct ChunkSealer: Sendable, BitwiseCopyable {
  let stream: UInt32
  let firstSequence: UInt64
  let seed: UInt64

  /// Header, hash and padding around a coded body that lies at offset 64 of `out`.
  ///
  /// - Parameter index: of the chunk, from 0 for the first after this was made.
  /// - Returns: the record's length in bytes, padding included.
  public func seal(
    index: Int, rawBytes: Int, codec: Codec, storedBytes: Int, in out: inout MutableRawSpan
  ) -> Int {
    var record = RecordHeader(type: .chunk)
    record.stream = stream
    record.sequence = firstSequence + UInt64(index)
    record.storedBytes = UInt32(storedBytes)
    record.rawBytes = UInt32(rawBytes)
    record.codec = codec
    record.encode(into: &out, seed: seed)
    return record.recordBytes
  }
}

extension LogEncoder {
  /// For the chunks from here on, as long as no other record comes between.
  public func chunkSealer() throws(EncodingError) -> ChunkSealer {
    guard openStream != nil else { throw .outOfOrder }
    return ChunkSealer(
      stream: streamCount - 1, firstSequence: recordCount, seed: header.transferSeed)
  }

  /// The next chunk, whose record a sealer has made. It is parsed again here; its hash has been
  /// made just now and is not made again.
  ///
  /// - Parameter raw: the bytes that it decodes to.
  public mutating func chunk(raw: RawSpan, sealed: RawSpan) throws(EncodingError) {
    guard !isBroken && !isEnded else { throw .broken }
    guard var stream = openStream else { throw fail(.outOfOrder) }
    let sum = rawBytes + UInt64(raw.byteCount)
    guard header.maxRawBytes == 0 || sum <= header.maxRawBytes else {
      throw fail(.overMaxRawBytes(header.maxRawBytes))
    }
    let end = position + UInt64(sealed.byteCount) + UInt64(Layout.commitRecordBytes)
    guard header.capacityBytes == 0 || end <= header.capacityBytes else { throw fail(.noRoom) }
    let storedBytes: Int
    do throws(DiskError) {
      let framed = try checker.frame(sealed)
      precondition(framed == sealed.byteCount)
      guard case .chunk(let record) = try checker.accept(sealed, hashFits: true),
        record.rawBytes == UInt32(raw.byteCount)
      else { throw DiskError(.corrupt, .record, .type, at: position) }
      storedBytes = Int(record.storedBytes)
    } catch {
      throw fail(.selfCheck(error))
    }
    recordCount += 1
    position += UInt64(sealed.byteCount)
    count(raw, storedBytes: storedBytes, &stream)
  }
}
