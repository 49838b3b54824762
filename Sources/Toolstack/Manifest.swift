import Foundation

/// fixtures/manifest.json: what every fixture is and what must be said of it.
public struct Manifest: Decodable, Sendable {
  public let fixtures: [Fixture]

  public struct Fixture: Decodable, Sendable {
    /// From the manifest's directory.
    public let file: String
    public let bytes: UInt64
    public let verdict: String
    public let exitCode: UInt8
    /// Nil of a good disk, like `field` and `offset`.
    public let structure: String?
    public let field: String?
    public let offset: UInt64?
    public let streams: [Stream]?
    public let diskBytes: UInt64?
    public let limits: Limits?
    /// Nil if the writer would lay the same streams out differently.
    public let write: Write?
  }

  public struct Stream: Decodable, Sendable {
    public let name: String
    public let rawBytes: UInt64
    public let storedBytes: UInt64
    public let chunkCount: UInt64
    public let xxh128: String
    /// The file, from the manifest's directory, that holds the same bytes.
    public let state: String?
  }

  public struct Limits: Decodable, Sendable {
    public let maxStateBytes: UInt64?
    public let codecs: [String]?
  }

  public struct Write: Decodable, Sendable {
    public let codec: String
  }
}
