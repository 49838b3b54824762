extension DiskHeader {
  /// Fills the first 4096 bytes of `block` with this header and its hash.
  ///
  /// - Returns: the header hash.
  @discardableResult
  public func encode(into block: inout MutableRawSpan) -> Bytes16 {
    precondition(block.byteCount >= Layout.blockBytes)
    block.zero(from: 0, count: Layout.blockBytes)
    block.put(Layout.magic, at: Layout.Header.magic)
    block.put(Layout.version, at: Layout.Header.version)
    block.put(Layout.knownFeatures, at: Layout.Header.requiredFeatures)
    block.put(direction.rawValue, at: Layout.Header.direction)
    block.put(chunkBytes, at: Layout.Header.chunkBytes)
    block.put(transferID, at: Layout.Header.transferID)
    block.put(capacityBytes, at: Layout.Header.capacityBytes)
    block.put(maxRawBytes, at: Layout.Header.maxRawBytes)
    block.put(allowedCodecs.bits, at: Layout.Header.allowedCodecs)
    block.put(maxStreams, at: Layout.Header.maxStreams)
    block.put(recipientDomid, at: Layout.Header.recipientDomid)
    block.put(targetDomid, at: Layout.Header.targetDomid)
    block.put(targetUUID, at: Layout.Header.targetUUID)
    block.put(compatibleFeatures, at: Layout.Header.compatibleFeatures)
    let hash = Hash.digest(block.bytes.extracting(0..<Layout.Header.hash))
    block.put(hash, at: Layout.Header.hash)
    return hash
  }
}

extension DiskHeader.Parsed {
  /// A header that is about to be written, with the hash that it will have.
  public init(new header: DiskHeader) {
    var block = [UInt8](repeating: 0, count: Layout.blockBytes)
    var span = block.mutableSpan
    var bytes = unsafe span.mutableBytes
    self.init(header: header, hash: header.encode(into: &bytes))
  }
}
