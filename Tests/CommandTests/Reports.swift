// The JSON that the program prints, as its users decode it.

struct HeaderJSON: Decodable, Equatable {
  let direction: String
  let chunkBytes: Int
  let transferID: String
  let capacityBytes: Int
  let maxRawBytes: Int
  let allowedCodecs: [String]
  let maxStreams: Int
}

struct StreamJSON: Decodable, Equatable {
  let name: String
  let rawBytes: Int
  let storedBytes: Int
  let chunkCount: Int
  let xxh128: String
}

struct VerdictJSON: Decodable {
  let type: String
  let path: String
  let verdict: String
  let exitCode: Int32
  let structure: String?
  let field: String?
  let offset: Int?
  let message: String?
  let diskBytes: Int?
  let streams: [StreamJSON]
}

struct RecordJSON: Decodable, Equatable {
  let offset: Int
  let type: String
  let sequence: Int
  let stream: Int?
  let codec: String?
  let storedBytes: Int
  let rawBytes: Int?
}

struct InspectionJSON: Decodable {
  let type: String
  let verdict: VerdictJSON
  let header: HeaderJSON?
  let streams: [StreamJSON]
  let records: [RecordJSON]
}

struct AllocationJSON: Decodable {
  let type: String
  let path: String
  let header: HeaderJSON
}

struct WrittenJSON: Decodable {
  let type: String
  let path: String
  let rawBytes: Int
  let storedBytes: Int
  let diskBytes: Int
}

struct ReplayJSON: Decodable {
  let type: String
  let judged: Int
  let rewritten: Int
  let differences: [String]
}

struct FailureJSON: Decodable {
  let type: String
  let exitCode: Int32
  let message: String
}

/// fixtures/manifest.json, as far as these tests need it.
struct ManifestJSON: Decodable {
  let fixtures: [Fixture]
  let saveFiles: [SaveFile]

  struct SaveFile: Decodable {
    let file: String
    let container: String?
    let exitCode: Int32
    let structure: String?
    let field: String?
    let offset: Int?
    let containerBytes: Int?
    let state: SavedState?
  }

  struct SavedState: Decodable {
    let offset: Int
    let bytes: Int
    let trailer: String
  }

  struct Fixture: Decodable {
    let file: String
    let verdict: String
    let exitCode: Int32
    let structure: String?
    let field: String?
    let offset: Int?
    let streams: [Stream]?
    let diskBytes: Int?
    let limits: Limits?
    let write: Write?
  }

  struct Stream: Decodable {
    let name: String
    let rawBytes: Int
    let xxh128: String
    let state: String?
  }

  struct Limits: Decodable {
    let maxStateBytes: Int?
    let codecs: [String]?
  }

  struct Write: Decodable {
    let codec: String
  }
}
