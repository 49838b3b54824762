import SaveDisk
import SystemIO
import Transfer

/// What the decoder's process says on the way, if it was asked to: how far it is, or that its answer
/// comes next.
public enum DecodeNote: Equatable, Sendable {
  case progress(doneBytes: UInt64)
  case answer

  public static let messageBytes = 16
  /// So many bytes are gone through between two: often enough for eyes.
  public static let intervalBytes: UInt64 = 8 << 20
  /// "stubnote".
  private static let magic: UInt64 = 0x6574_6F6E_6275_7473

  /// Magic; bytes done, or all ones for the answer.
  public func encode() -> [UInt8] {
    var bytes: [UInt8] = []
    bytes.append(littleEndian: DecodeNote.magic)
    switch self {
    case .progress(let doneBytes): bytes.append(littleEndian: doneBytes)
    case .answer: bytes.append(littleEndian: UInt64.max)
    }
    return bytes
  }

  /// - Parameter maxBytes: of a disk that is read.
  public init(parsing message: RawSpan, maxBytes: UInt64) throws(MessageError) {
    guard message.byteCount == DecodeNote.messageBytes else { throw MessageError() }
    var cursor = ByteCursor(message)
    guard cursor.littleEndianUInt64() == DecodeNote.magic else { throw MessageError() }
    let doneBytes = cursor.littleEndianUInt64()
    if doneBytes == .max {
      self = .answer
    } else {
      guard doneBytes <= maxBytes else { throw MessageError() }
      self = .progress(doneBytes: doneBytes)
    }
  }
}
