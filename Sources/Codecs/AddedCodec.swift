import SaveDisk

// The stubdomain's agent brings none, and is spared what keeps them.
#if !hasFeature(Embedded)

  /// A codec that a program brings along: one that this module has not, or another library's way of
  /// coding for one that it has. So a program that brings none links no library for it.
  public struct AddedCodec: Sendable {
    public let codec: Codec
    let makeEncoder: (@Sendable () -> any BodyEncoder)?
    let makeDecoder: (@Sendable () -> any BodyDecoder)?

    /// - Parameters: nil where this cannot encode, or decode.
    public init(
      _ codec: Codec, makeEncoder: (@Sendable () -> any BodyEncoder)?,
      makeDecoder: (@Sendable () -> any BodyDecoder)?
    ) {
      self.codec = codec
      self.makeEncoder = makeEncoder
      self.makeDecoder = makeDecoder
    }
  }

  /// Codes bodies one after the other, with memory that it keeps between them. For one thread.
  public protocol BodyEncoder: AnyObject {
    /// - Parameter room: where the body goes; all that it may take.
    /// - Returns: the body's length, or nil if it does not fit.
    func encode(_ raw: RawSpan, into room: inout MutableRawSpan) -> Int?
  }

  /// Decodes bodies one after the other, with memory that it keeps between them. For one thread.
  public protocol BodyDecoder: AnyObject {
    /// Safe on any bytes: writes nothing beyond `raw`, reads nothing beyond `body`.
    ///
    /// - Returns: false unless the body was used up exactly and filled `raw` exactly.
    func decode(_ body: RawSpan, into raw: inout MutableRawSpan) -> Bool
  }

  /// Decodes chunks, one after the other. For one thread.
  public struct ChunkDecoder: ~Copyable {
    private let added: [AddedCodec]
    private var decoders: [any BodyDecoder] = []

    /// - Parameter added: beside what `ChunkCodec` decodes.
    public init(added: [AddedCodec] = []) {
      self.added = added.filter { $0.makeDecoder != nil }
    }

    /// What can be decoded with that.
    public static func supported(added: [AddedCodec]) -> CodecSet {
      var set = ChunkCodec.supported
      for codec in added where codec.makeDecoder != nil { set = set.union(CodecSet(codec.codec)) }
      return set
    }

    /// As `ChunkCodec.decode`.
    public mutating func decode(
      _ body: RawSpan, codec: Codec, into out: inout MutableRawSpan, rawBytes: Int
    ) -> Bool {
      for index in added.indices where added[index].codec == codec {
        if body.isEmpty { return false }
        // Made when the first such chunk comes: most disks have none.
        if decoders.isEmpty { decoders = added.map { $0.makeDecoder!() } }
        var raw = out._mutatingExtracting(0..<rawBytes)
        return decoders[index].decode(body, into: &raw)
      }
      return ChunkCodec.decode(body, codec: codec, into: &out, rawBytes: rawBytes)
    }
  }

#else

  /// Decodes chunks, one after the other.
  public struct ChunkDecoder: ~Copyable {
    public init() {}

    /// As `ChunkCodec.decode`.
    public mutating func decode(
      _ body: RawSpan, codec: Codec, into out: inout MutableRawSpan, rawBytes: Int
    ) -> Bool {
      ChunkCodec.decode(body, codec: codec, into: &out, rawBytes: rawBytes)
    }
  }

#endif
