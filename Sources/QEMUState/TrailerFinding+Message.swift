import SaveDisk
import SystemIO
import Transfer

/// What the decoder's process says of a state file: fixed size, little-endian. Nothing of it is
/// taken that a decoder at its senses could not have said.
extension TrailerFinding {
  public static let messageBytes =
    8 + DoorFailure.messageBytes + 2 * 8 + 16 + KeptMetadata.messageBytes

  private enum Kind: UInt64 {
    case good = 1
    case none = 2
    case failed = 3
    case unreadable = 4
  }

  /// Kind; failure; bytes of state and of metadata in the file; digest; metadata.
  public func encode(into bytes: inout [UInt8]) {
    var facts: StateFileFacts?
    var failure: DoorFailure?
    let kind: Kind
    switch self {
    case .good(let found):
      kind = .good
      facts = found
    case .none: kind = .none
    case .failed(let error):
      kind = .failed
      failure = .disk(error)
    case .unreadable(let error):
      kind = .unreadable
      failure = .input(error)
    }
    bytes.append(littleEndian: kind.rawValue)
    DoorFailure.encode(failure, into: &bytes)
    bytes.append(littleEndian: facts?.stateBytes ?? 0)
    bytes.append(littleEndian: facts?.metadataBytes ?? 0)
    bytes.append(littleEndian: facts?.stateDigest.first ?? 0)
    bytes.append(littleEndian: facts?.stateDigest.last ?? 0)
    KeptMetadata.encode(facts?.metadata ?? [], into: &bytes)
  }

  /// - Parameter fileBytes: of the file that was looked at.
  public init(parsing cursor: inout ByteCursor, fileBytes: UInt64) throws(MessageError) {
    guard let kind = Kind(rawValue: cursor.littleEndianUInt64()) else { throw MessageError() }
    let failure = try DoorFailure.parse(&cursor)
    let stateBytes = try cursor.bounded(fileBytes)
    let metadataBytes = try cursor.bounded(fileBytes - stateBytes)
    let digest = cursor.bytes16()
    let metadata = try KeptMetadata.parse(&cursor)
    switch (kind, failure) {
    case (.good, nil):
      let rest = fileBytes - stateBytes - metadataBytes
      guard rest >= UInt64(StateFooter.byteCount) else { throw MessageError() }
      self = .good(
        StateFileFacts(
          stateBytes: stateBytes, metadataBytes: metadataBytes,
          paddingBytes: rest - UInt64(StateFooter.byteCount), stateDigest: digest,
          metadata: metadata))
    case (.none, nil): self = .none
    case (.failed, .disk(let error)?): self = .failed(error)
    case (.unreadable, .input(let error)?): self = .unreadable(error)
    default: throw MessageError()
    }
  }
}
