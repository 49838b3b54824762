import Foundation

/// fixtures/manifest.json: what every fixture is and what must be said of it.
public struct Manifest: Decodable, Sendable {
  public let fixtures: [Fixture]
  public let saveFiles: [SaveFile]

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
    /// Of a good one that may as well be called damaged (formats/save-disk.md, section 6): as what.
    public let or: Damage?

    /// What a reader may find wrong, or nil if nothing.
    var damage: Damage? {
      guard let structure, let field, let offset else { return or }
      return Damage(
        verdict: verdict, exitCode: exitCode, structure: structure, field: field, offset: offset)
    }
  }

  public struct Damage: Decodable, Sendable {
    public let verdict: String
    public let exitCode: UInt8
    public let structure: String
    public let field: String
    public let offset: UInt64
  }

  /// A toolstack's save file.
  public struct SaveFile: Decodable, Sendable {
    public let file: String
    public let container: String?
    public let verdict: String
    public let exitCode: UInt8
    /// Nil of a good one, like `field` and `offset`.
    public let structure: String?
    public let field: String?
    public let offset: UInt64?
    /// Up to its end, without what may follow.
    public let containerBytes: UInt64?
    public let entryCount: UInt64?
    /// Nil if there is no state in it.
    public let state: SavedState?
    public let limits: Limits?
  }

  public struct SavedState: Decodable, Sendable {
    public let offset: UInt64
    /// With its trailer.
    public let bytes: UInt64
    public let trailer: String
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
