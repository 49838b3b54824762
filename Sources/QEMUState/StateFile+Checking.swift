import SaveDisk
import SystemIO
import Transfer

/// What the end of a state file says of it.
public enum TrailerFinding: Sendable {
  /// All checks of section 10 have passed.
  case good(StateFileFacts)
  /// No trailer of ours: nothing says whether these are the bytes that were saved.
  case none
  /// A trailer that does not fit: structure `trailer`, or of the metadata.
  case failed(DiskError)
  case unreadable(SystemError)
}

extension TrailerFinding {
  /// Of the state, as far as that is known.
  public func stateBytes(ofFile bytes: UInt64) -> UInt64 {
    if case .good(let facts) = self { return facts.stateBytes }
    return bytes
  }
}

public struct StateFileFacts: Sendable {
  public let stateBytes: UInt64
  public let metadataBytes: UInt64
  /// Zeros behind the trailer, of a volume or a sector that was filled up.
  public let paddingBytes: UInt64
  /// XXH3-128 of the state.
  public let stateDigest: Bytes16
  /// The stream `metadata`, empty if there is none.
  public let metadata: [UInt8]

  /// The state with its trailer, without what follows it.
  public var wholeBytes: UInt64 {
    stateBytes + metadataBytes + UInt64(StateFooter.byteCount)
  }
}

extension StateFile {
  /// Checks a state file by its trailer.
  ///
  /// - Parameters:
  ///   - file: private to this process, or one that nobody changes meanwhile.
  ///   - bytes: its length.
  ///   - options: for the metadata.
  public static func check(
    _ file: borrowing FileDescriptor, bytes: UInt64, options: ReadOptions
  ) -> TrailerFinding {
    do throws(SystemError) {
      return try findTrailer(file, bytes, options)
    } catch {
      return .unreadable(error)
    }
  }

  private static func findTrailer(
    _ file: borrowing FileDescriptor, _ bytes: UInt64, _ options: ReadOptions
  ) throws(SystemError) -> TrailerFinding {
    if let atEnd = try FoundFooter(file, endingAt: bytes), atEnd.isRecognised {
      return try judge(atEnd, file, bytes, options)
    }
    switch try TrailerSearch.run(file, bytes: bytes) {
    case .footer(let found): return try judge(found, file, bytes, options)
    case .cut(let end):  // T13
      return .failed(DiskError(.incomplete, .trailer, .end, at: end))
    case .followed(let end):  // T14
      return .failed(DiskError(.corrupt, .trailer, .trailing, at: end))
    case .none(let zeroBytes):
      let limit = try ZeroTail.limit(file, endingAt: bytes - zeroBytes)
      if zeroBytes <= limit { return .none }  // T1
      return .failed(  // T12
        DiskError(
          .corrupt, .trailer, .end, at: bytes - zeroBytes, found: zeroBytes, expected: limit))
    }
  }

  /// T2 to T11.
  private static func judge(
    _ found: FoundFooter, _ file: borrowing FileDescriptor, _ bytes: UInt64,
    _ options: ReadOptions
  ) throws(SystemError) -> TrailerFinding {
    let footer = found.footer
    let start = found.start
    func fail(
      _ verdict: VerdictClass, _ field: DiskField, _ offset: Int,
      found: UInt64 = 0, expected: UInt64 = 0
    ) -> TrailerFinding {
      .failed(
        DiskError(
          verdict, .trailer, field, at: start + UInt64(offset), found: found, expected: expected))
    }
    if footer.magic != StateFooter.magic {  // T2
      return fail(.corrupt, .magic, StateFooter.Offset.magic)
    }
    if footer.metadataBytes > start {  // T3
      return fail(
        .corrupt, .metadataBytes, StateFooter.Offset.metadataBytes, found: footer.metadataBytes,
        expected: start)
    }
    if !found.isHashRight { return fail(.corrupt, .hash, StateFooter.Offset.hash) }  // T4
    if footer.version != 1 {  // T5
      return fail(
        .unsupported, .version, StateFooter.Offset.version, found: UInt64(footer.version),
        expected: 1)
    }
    if footer.requiredFeatures != 0 {  // T6
      return fail(
        .unsupported, .requiredFeatures, StateFooter.Offset.requiredFeatures,
        found: UInt64(footer.requiredFeatures))
    }
    if footer.stateBytes > start || footer.stateBytes != start - footer.metadataBytes {  // T7
      return fail(
        .corrupt, .stateBytes, StateFooter.Offset.stateBytes, found: footer.stateBytes,
        expected: start - footer.metadataBytes)
    }
    if footer.metadataBytes % UInt64(Layout.blockBytes) != 0 {  // T8
      return fail(
        .corrupt, .metadataBytes, StateFooter.Offset.metadataBytes, found: footer.metadataBytes)
    }
    var digest = DigestStream()
    try forEachPiece(file, from: 0, bytes: footer.stateBytes) { digest.update($0) }
    if digest.value() != footer.stateDigest {  // T9
      return fail(.corrupt, .stateDigest, StateFooter.Offset.stateDigest)
    }
    return try checkMetadata(
      file, footer, paddingBytes: bytes - found.end, options)
  }

  /// T10 and T11.
  private static func checkMetadata(
    _ file: borrowing FileDescriptor, _ footer: StateFooter, paddingBytes: UInt64,
    _ options: ReadOptions
  ) throws(SystemError) -> TrailerFinding {
    var sink = MetadataSink()
    if footer.metadataBytes != 0 {
      let facts: DiskFacts
      do throws(WalkError) {
        var walk = try DiskWalk(
          file,
          shape: InputShape(partOfFileFrom: footer.stateBytes, bytes: footer.metadataBytes),
          options: options)
        try walk.run(&sink)
        facts = walk.facts
      } catch {
        switch error {
        case .disk(let error): return .failed(error.moved(by: footer.stateBytes))
        case .input(let error), .output(let error): throw error
        }
      }
      if facts.header?.header.capacityBytes != 0 || facts.summary(of: .qemu) != nil {
        return .failed(DiskError(.corrupt, .trailer, .metadata, at: footer.stateBytes))
      }
    }
    return .good(
      StateFileFacts(
        stateBytes: footer.stateBytes, metadataBytes: footer.metadataBytes,
        paddingBytes: paddingBytes, stateDigest: footer.stateDigest, metadata: sink.metadata))
  }
}

/// Keeps the stream `metadata`.
private struct MetadataSink: LogSink {
  private var kept = KeptMetadata()

  var metadata: [UInt8] { kept.bytes }

  mutating func streamBegan(_ record: PlacedRecord, name: StreamName, flags: StreamFlags) {
    kept.streamBegan(name)
  }

  mutating func chunk(_ record: PlacedRecord, raw: RawSpan) { kept.chunk(raw) }
}

extension DiskError {
  /// The same error of a disk that begins at `start` of a larger file.
  public func moved(by start: UInt64) -> DiskError {
    DiskError(
      verdict, structure, field, at: start + offset, found: found, expected: expected)
  }
}
