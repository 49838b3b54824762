/// What a reader says of a save disk; the raw value is stubsave's exit code.
public enum VerdictClass: UInt8, Sendable, BitwiseCopyable {
  /// An unbroken chain of valid records that ends in a commit.
  case good = 0
  /// Something is there that does not fit.
  case corrupt = 2
  /// What is there fits, but ends before the commit or in an abort.
  case incomplete = 3
  /// It does not begin as a save disk does.
  case notASaveDisk = 4
  /// Newer than this reader, or using what it does not accept.
  case unsupported = 6
  /// Beyond a limit of the reader's own.
  case overLimit = 7

  public var word: StaticString {
    switch self {
    case .good: "good"
    case .corrupt: "corrupt"
    case .incomplete: "incomplete"
    case .notASaveDisk: "not-a-save-disk"
    case .unsupported: "unsupported"
    case .overLimit: "over-limit"
    }
  }
}

/// The structures of formats/save-disk.md, by the names that its section 7 uses.
public enum DiskStructure: UInt8, Sendable, BitwiseCopyable {
  case disk, header, record, streamBegin, chunk, streamEnd, commit, abort, trailer

  public var name: StaticString {
    switch self {
    case .disk: "disk"
    case .header: "header"
    case .record: "record"
    case .streamBegin: "stream begin"
    case .chunk: "chunk"
    case .streamEnd: "stream end"
    case .commit: "commit"
    case .abort: "abort"
    case .trailer: "trailer"
    }
  }
}

/// The fields of those structures, by the names that the document's tables use.
public enum DiskField: UInt8, Sendable, BitwiseCopyable {
  case end, magic, hash, version, requiredFeatures, direction, chunkBytes, transferID
  case capacityBytes, allowedCodecs, maxStreams, recipientDomid, targetDomid, reserved
  case storedBytes, padding, sequence, type, stream, codec, rawBytes, nameBytes, name
  case body, chunkCount, digest, code, headerHash, logBytes, logDigest, recordCount
  case streamCount, trailing
  case stateBytes, metadataBytes, stateDigest, metadata
  case flags

  public var name: StaticString {
    switch self {
    case .end: "end"
    case .magic: "magic"
    case .hash: "hash"
    case .version: "version"
    case .requiredFeatures: "requiredFeatures"
    case .direction: "direction"
    case .chunkBytes: "chunkBytes"
    case .transferID: "transferID"
    case .capacityBytes: "capacityBytes"
    case .allowedCodecs: "allowedCodecs"
    case .maxStreams: "maxStreams"
    case .recipientDomid: "recipientDomid"
    case .targetDomid: "targetDomid"
    case .reserved: "reserved"
    case .storedBytes: "storedBytes"
    case .padding: "padding"
    case .sequence: "sequence"
    case .type: "type"
    case .stream: "stream"
    case .codec: "codec"
    case .rawBytes: "rawBytes"
    case .nameBytes: "nameBytes"
    case .name: "name"
    case .body: "body"
    case .chunkCount: "chunkCount"
    case .digest: "digest"
    case .code: "code"
    case .headerHash: "headerHash"
    case .logBytes: "logBytes"
    case .logDigest: "logDigest"
    case .recordCount: "recordCount"
    case .streamCount: "streamCount"
    case .trailing: "trailing"
    case .stateBytes: "stateBytes"
    case .metadataBytes: "metadataBytes"
    case .stateDigest: "stateDigest"
    case .metadata: "metadata"
    case .flags: "flags"
    }
  }
}

/// Why a disk is not good: what, where, and the numbers behind it. Fixed size, no text from the
/// disk.
public struct DiskError: Error, Equatable, Sendable, BitwiseCopyable {
  /// Never `.good`.
  public let verdict: VerdictClass
  public let structure: DiskStructure
  public let field: DiskField
  /// From the start of the input, in bytes.
  public let offset: UInt64
  /// What was there, where it is a number; 0 where it is not.
  public let found: UInt64
  /// What was expected, or the limit; 0 where that is no number.
  public let expected: UInt64

  public init(
    _ verdict: VerdictClass, _ structure: DiskStructure, _ field: DiskField, at offset: UInt64,
    found: UInt64 = 0, expected: UInt64 = 0
  ) {
    self.verdict = verdict
    self.structure = structure
    self.field = field
    self.offset = offset
    self.found = found
    self.expected = expected
  }
}
