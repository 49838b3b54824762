import SaveDisk

/// What the writer is told to use for chunks that are not all zeros
/// (formats/save-disk.md, section 9).
public enum CodecSetting: Sendable {
  case none
  case lz4
  case zlib
  /// LZ4, or none where that saves less than an eighth; of a long stream, where the disk would wait
  /// for the codec, none.
  case auto
  #if !hasFeature(Embedded)
    /// One whose encoder the program brings along.
    case added(AddedEncoder)
  #endif

  /// What suits, of the codecs that a header admits.
  public init(allowed: CodecSet) {
    if allowed.contains(.lz4) {
      self = .auto
    } else {
      self = allowed.contains(.zlib) ? .zlib : .none
    }
  }

  /// What a header has to admit for this.
  public var admitted: CodecSet {
    switch self {
    case .auto: CodecSet(.none, .zeros, .lz4, .zlib)
    case .lz4: CodecSet(.none, .zeros, .lz4)
    case .zlib: CodecSet(.none, .zeros, .zlib)
    case .none: .always
    #if !hasFeature(Embedded)
      case .added(let added): CodecSet.always.union(CodecSet(added.codec))
    #endif
    }
  }

  /// The codec to try, if any.
  public func candidate(allowed: CodecSet) -> Codec? {
    guard let codec = candidate, allowed.contains(codec) else { return nil }
    return codec
  }

  private var candidate: Codec? {
    switch self {
    case .none: nil
    case .lz4, .auto: .lz4
    case .zlib: .zlib
    #if !hasFeature(Embedded)
      case .added(let added): added.codec
    #endif
    }
  }

  /// Whether a chunk that compresses may be stored as it is.
  public var adapts: Bool {
    if case .auto = self { return true }
    return false
  }

  /// Most stored bytes at which the candidate is worth its decoding.
  ///
  /// `auto` wants an eighth saved: less does not pay for the reader's time. A set codec must
  /// make the chunk smaller, as the format asks.
  func maxStoredBytes(rawBytes: Int) -> Int {
    switch self {
    case .none: 0
    case .auto: min(rawBytes - rawBytes / 8, rawBytes - 1)
    default: rawBytes - 1
    }
  }
}
