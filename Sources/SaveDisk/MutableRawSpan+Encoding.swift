/// Writes fields of the format at offsets of `Layout`, little-endian; traps outside the span.
///
/// Every field is put at its own offset, so that the code reads like the document's tables, and a
/// field that is left out stays zero.
extension MutableRawSpan {
  public mutating func put(_ value: UInt32, at offset: Int) {
    storeBytes(of: value.littleEndian, toByteOffset: offset, as: UInt32.self)
  }

  public mutating func put(_ value: UInt64, at offset: Int) {
    storeBytes(of: value.littleEndian, toByteOffset: offset, as: UInt64.self)
  }

  public mutating func put(_ value: Bytes16, at offset: Int) {
    put(value.first, at: offset)
    put(value.last, at: offset + 8)
  }

  /// A 64-bit hash in canonical form: most significant byte first.
  mutating func put(canonical hash: UInt64, at offset: Int) {
    storeBytes(of: hash.bigEndian, toByteOffset: offset, as: UInt64.self)
  }

  /// Fills `count` bytes from `offset` with zeros.
  public mutating func zero(from offset: Int, count: Int) {
    precondition(offset >= 0 && count >= 0 && count <= byteCount - offset)
    unsafe withUnsafeMutableBytes { destination in
      if count == 0 { return }
      let target = unsafe UnsafeMutableRawBufferPointer(
        rebasing: destination[offset..<offset + count])
      unsafe _ = target.initializeMemory(as: UInt8.self, repeating: 0)
    }
  }

  /// Copies all of `source` to `offset`.
  public mutating func put(_ source: RawSpan, at offset: Int) {
    precondition(offset >= 0 && source.byteCount <= byteCount - offset)
    unsafe withUnsafeMutableBytes { destination in
      unsafe source.withUnsafeBytes { bytes in
        if unsafe bytes.isEmpty { return }
        unsafe UnsafeMutableRawBufferPointer(
          rebasing: destination[offset..<offset + bytes.count]
        ).copyMemory(from: bytes)
      }
    }
  }
}
