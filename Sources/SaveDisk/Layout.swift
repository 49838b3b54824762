/// Sizes and offsets of formats/save-disk.md, sections 2, 4 and 5, in bytes.
///
/// `LayoutTests` holds every number here against the tables of the document.
public enum Layout {
  /// The header's size, and what the end of a save disk is rounded up to.
  public static let blockBytes = 4096
  /// Every record starts at a multiple of this.
  public static let recordAlignment = 64
  public static let recordHeaderBytes = 64

  /// "\u{89}STUBSAVE\r\n\u{1A}\n", three zeros.
  public static let magic = Bytes16(first: 0x5641_5342_5554_5389, last: 0x0000_000A_1A0A_0D45)
  public static let version: UInt32 = 1
  /// Feature bits that this reader knows.
  public static let knownFeatures: UInt32 = 0

  public enum Header {
    public static let magic = 0
    public static let version = 16
    public static let requiredFeatures = 20
    public static let direction = 24
    public static let chunkBytes = 28
    public static let transferID = 32
    public static let capacityBytes = 48
    public static let maxRawBytes = 56
    public static let allowedCodecs = 64
    public static let maxStreams = 68
    public static let recipientDomid = 72
    public static let targetDomid = 76
    public static let targetUUID = 80
    public static let compatibleFeatures = 96
    public static let reserved = 100
    public static let hash = 4080
  }

  public enum Record {
    public static let hash = 0
    /// The record hash covers everything from here to the end of the body.
    public static let hashed = 8
    public static let type = 8
    public static let stream = 12
    public static let sequence = 16
    public static let storedBytes = 24
    public static let rawBytes = 28
    public static let codec = 32
    public static let reserved = 36
    public static let body = 64
  }

  public enum StreamBegin {
    public static let bodyBytes = 64
    public static let transferID = 0
    public static let nameBytes = 16
    public static let flags = 20
    public static let reserved = 24
    public static let name = 32
  }

  public enum StreamEnd {
    public static let bodyBytes = 64
    public static let digest = 0
    public static let rawBytes = 16
    public static let chunkCount = 24
    public static let reserved = 32
  }

  public enum Commit {
    public static let bodyBytes = 128
    public static let transferID = 0
    public static let headerHash = 16
    public static let logDigest = 32
    public static let logBytes = 48
    public static let recordCount = 56
    public static let rawBytes = 64
    public static let storedBytes = 72
    public static let streamCount = 80
    public static let reserved = 84
  }

  public enum Abort {
    public static let bodyBytes = 8
    public static let code = 0
    public static let reserved = 4
  }

  /// Bytes of a record with a body of `storedBytes`, its padding included.
  public static func recordBytes(storedBytes: Int) -> Int {
    aligned(recordHeaderBytes + storedBytes, to: recordAlignment)
  }

  /// Bytes of the commit record; a writer keeps this much room for it.
  public static let commitRecordBytes = recordBytes(storedBytes: Commit.bodyBytes)

  /// The smallest multiple of `alignment`, a power of two, that is not less than `count`.
  public static func aligned(_ count: Int, to alignment: Int) -> Int {
    (count + alignment - 1) & ~(alignment - 1)
  }

  /// The same for an offset on a disk. Offsets are at most 2^62 (`FormatLimits`): no overflow.
  public static func aligned(_ offset: UInt64, to alignment: Int) -> UInt64 {
    let mask = UInt64(alignment - 1)
    return (offset + mask) & ~mask
  }
}
