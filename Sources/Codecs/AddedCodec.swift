import SaveDisk

/// Decodes bodies of a codec that this module has not, one after the other: so a program that brings
/// none links no library for it. For one thread.
public struct AddedDecoder {
  /// Safe on any bytes: writes nothing beyond the second, reads nothing beyond the first.
  ///
  /// - Returns: false unless the body was used up exactly and filled the raw bytes exactly.
  public typealias Decode = (_ body: RawSpan, _ raw: inout MutableRawSpan) -> Bool

  let codec: Codec
  let decode: Decode

  /// - Parameter decode: may keep memory from one body to the next.
  public init(_ codec: Codec, _ decode: @escaping Decode) {
    self.codec = codec
    self.decode = decode
  }
}

/// Decodes chunks, one after the other. For one thread.
public struct ChunkDecoder: ~Copyable {
  private let added: [AddedDecoder]

  /// - Parameter added: beside what `ChunkCodec` decodes.
  public init(added: [AddedDecoder] = []) { self.added = added }

  public var supported: CodecSet {
    var set = ChunkCodec.supported
    for decoder in added { set = set.union(CodecSet(decoder.codec)) }
    return set
  }

  /// As `ChunkCodec.decode`.
  public borrowing func decode(
    _ body: RawSpan, codec: Codec, into out: inout MutableRawSpan, rawBytes: Int
  ) -> Bool {
    for decoder in added where decoder.codec == codec {
      if body.isEmpty { return false }
      var raw = out._mutatingExtracting(0..<rawBytes)
      return decoder.decode(body, &raw)
    }
    return ChunkCodec.decode(body, codec: codec, into: &out, rawBytes: rawBytes)
  }
}

// The stubdomain's agent codes with what it has.
#if !hasFeature(Embedded)

  /// Codes bodies as another library does: of a codec that this module has not, or has otherwise.
  public struct AddedEncoder: Sendable {
    /// - Returns: the body's length, or nil if it does not fit into the second.
    public typealias Encode = (_ raw: RawSpan, _ room: inout MutableRawSpan) -> Int?

    public let codec: Codec
    let make: @Sendable () -> Encode

    /// - Parameter make: makes one for each thread, which may keep memory from one body to the next.
    public init(_ codec: Codec, make: @escaping @Sendable () -> Encode) {
      self.codec = codec
      self.make = make
    }
  }

#endif
