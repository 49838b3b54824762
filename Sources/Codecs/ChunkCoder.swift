import SaveDisk

/// Codes chunks by one setting, one after the other. For one thread.
public struct ChunkCoder: ~Copyable {
  private let setting: CodecSetting
  #if !hasFeature(Embedded)
    private let encode: AddedEncoder.Encode?
  #endif

  public init(_ setting: CodecSetting) {
    self.setting = setting
    #if !hasFeature(Embedded)
      if case .added(let encoder) = setting {
        encode = encoder.make()
      } else {
        encode = nil
      }
    #endif
  }

  /// Codes `raw` to `offset` of `out` by section 9's rule: zeros, then what the setting says,
  /// then none.
  ///
  /// - Parameters:
  ///   - raw: 1 byte to 1 MiB.
  ///   - allowed: codecs that the header allows.
  ///   - out: at least `offset + raw.byteCount` bytes.
  public borrowing func encode(
    _ raw: RawSpan, allowed: CodecSet, into out: inout MutableRawSpan, at offset: Int
  ) -> ChunkCodec.Coded {
    if let coded = shrink(raw, allowed: allowed, into: &out, at: offset) { return coded }
    out.put(raw, at: offset)
    return ChunkCodec.Coded(codec: .none, storedBytes: raw.byteCount)
  }

  /// The same, but for what is to be stored as it is: then nothing that counts is in `out`.
  public borrowing func shrink(
    _ raw: RawSpan, allowed: CodecSet, into out: inout MutableRawSpan, at offset: Int
  ) -> ChunkCodec.Coded? {
    if raw.isAllZero { return ChunkCodec.Coded(codec: .zeros, storedBytes: 0) }
    guard let codec = setting.candidate(allowed: allowed) else { return nil }
    let room = setting.maxStoredBytes(rawBytes: raw.byteCount)
    guard let stored = compress(raw, codec, into: &out, at: offset, room: room) else { return nil }
    return ChunkCodec.Coded(codec: codec, storedBytes: stored)
  }

  private borrowing func compress(
    _ raw: RawSpan, _ codec: Codec, into out: inout MutableRawSpan, at offset: Int, room: Int
  ) -> Int? {
    #if !hasFeature(Embedded)
      if let encode {
        guard room > 0 else { return nil }
        var body = out._mutatingExtracting(offset..<(offset + room))
        return encode(raw, &body)
      }
    #endif
    return ChunkCodec.compress(raw, codec: codec, into: &out, at: offset, room: room)
  }
}
