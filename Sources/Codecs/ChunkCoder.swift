import SaveDisk

/// Codes chunks by one setting, one after the other. For one thread.
public struct ChunkCoder: ~Copyable {
  private let setting: CodecSetting
  #if !hasFeature(Embedded)
    private let encoder: (any BodyEncoder)?
  #endif

  public init(_ setting: CodecSetting) {
    self.setting = setting
    #if !hasFeature(Embedded)
      if case .added(let codec) = setting {
        encoder = codec.makeEncoder?()
      } else {
        encoder = nil
      }
    #endif
  }

  /// Codes `raw` to `offset` of `out` by section 9's rule: zeros, then what the setting says,
  /// then none.
  ///
  /// - Parameters:
  ///   - raw: 1 byte to 1 MiB.
  ///   - allowed: codecs that the header allows.
  ///   - isHurried: `auto` does not try to make it smaller: the disk is waiting.
  ///   - out: at least `offset + raw.byteCount` bytes.
  public func encode(
    _ raw: RawSpan, allowed: CodecSet, isHurried: Bool = false, into out: inout MutableRawSpan,
    at offset: Int
  ) -> ChunkCodec.Coded {
    if raw.isAllZero { return ChunkCodec.Coded(codec: .zeros, storedBytes: 0) }
    let isWorthIt = !isHurried || !setting.adapts
    if isWorthIt, let codec = setting.candidate, allowed.contains(codec) {
      let room = setting.maxStoredBytes(rawBytes: raw.byteCount)
      if let stored = compress(raw, codec, into: &out, at: offset, room: room) {
        return ChunkCodec.Coded(codec: codec, storedBytes: stored)
      }
    }
    out.put(raw, at: offset)
    return ChunkCodec.Coded(codec: .none, storedBytes: raw.byteCount)
  }

  private func compress(
    _ raw: RawSpan, _ codec: Codec, into out: inout MutableRawSpan, at offset: Int, room: Int
  ) -> Int? {
    #if !hasFeature(Embedded)
      if let encoder {
        guard room > 0 else { return nil }
        var body = out._mutatingExtracting(offset..<(offset + room))
        return encoder.encode(raw, into: &body)
      }
    #endif
    return ChunkCodec.compress(raw, codec: codec, into: &out, at: offset, room: room)
  }
}
