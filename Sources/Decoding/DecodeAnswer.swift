import QEMUState
import SaveDisk
import SystemIO
import Transfer

/// The first that the decoder's process says, before it has seen a byte of the input: which walls
/// stand.
public enum DecoderGreeting {
  public static let messageBytes = 16
  /// "stubwall".
  private static let magic: UInt64 = 0x6C6C_6177_6275_7473

  public static func encode(_ walls: WallSet) -> [UInt8] {
    var bytes: [UInt8] = []
    bytes.append(littleEndian: magic)
    bytes.append(littleEndian: walls.bits)
    bytes.append(littleEndian: UInt32(0))
    return bytes
  }

  public static func parse(_ message: RawSpan) throws(MessageError) -> WallSet {
    guard message.byteCount == messageBytes else { throw MessageError() }
    var cursor = ByteCursor(message)
    guard cursor.littleEndianUInt64() == magic,
      let walls = WallSet(bits: cursor.littleEndianUInt32()), cursor.littleEndianUInt32() == 0
    else { throw MessageError() }
    return walls
  }
}

/// The last that it says.
public enum DecodeAnswer: Sendable {
  case door(DoorVerdict)
  /// Nothing of the metadata counts unless the verdict is good.
  case carried(DoorVerdict, metadata: [UInt8])
  /// And so many bytes of sections in the output.
  case state(TrailerFinding, StateHead, outputBytes: UInt64)
  case saveFile(Judged)

  /// Of the answer to a task.
  public static func messageBytes(_ task: DecodeTask) -> Int {
    switch task {
    case .door: DoorVerdict.messageBytes
    case .carry: DoorVerdict.messageBytes + KeptMetadata.messageBytes
    case .state: TrailerFinding.messageBytes + StateHead.messageBytes + 8
    case .saveFile: Judged.messageBytes
    }
  }

  public func encode() -> [UInt8] {
    var bytes: [UInt8] = []
    switch self {
    case .door(let verdict): verdict.encode(into: &bytes)
    case .carried(let verdict, let metadata):
      verdict.encode(into: &bytes)
      KeptMetadata.encode(metadata, into: &bytes)
    case .state(let finding, let head, let outputBytes):
      finding.encode(into: &bytes)
      head.encode(into: &bytes)
      bytes.append(littleEndian: outputBytes)
    case .saveFile(let judged): judged.encode(into: &bytes)
    }
    return bytes
  }

  /// - Parameter request: what was asked: no answer goes beyond it.
  public init(parsing message: RawSpan, to request: DecodeRequest) throws(MessageError) {
    guard message.byteCount == DecodeAnswer.messageBytes(request.task) else {
      throw MessageError()
    }
    switch request.task {
    case .door: self = .door(try DecodeAnswer.doorVerdict(message, request))
    case .carry:
      let verdict = try DecodeAnswer.doorVerdict(
        message.extracting(0..<DoorVerdict.messageBytes), request)
      var cursor = ByteCursor(
        message.extracting(DoorVerdict.messageBytes..<message.byteCount))
      self = .carried(verdict, metadata: try KeptMetadata.parse(&cursor))
    case .saveFile: self = .saveFile(try Judged(parsing: message, to: request))
    case .state:
      var cursor = ByteCursor(message)
      let fileBytes = request.shape.totalBytes ?? 0
      let finding = try TrailerFinding(parsing: &cursor, fileBytes: fileBytes)
      let head = try StateHead(parsing: &cursor, stateBytes: fileBytes)
      let bytes = try cursor.bounded(request.maxOutputBytes)
      guard bytes % UInt64(StateSection.messageBytes) == 0 else { throw MessageError() }
      self = .state(finding, head, outputBytes: bytes)
    }
  }

  static func doorVerdict(
    _ message: RawSpan, _ request: DecodeRequest
  ) throws(MessageError) -> DoorVerdict {
    let verdict = try DoorVerdict(
      parsing: message, shape: request.shape, limits: request.options.limits,
      maxOutputBytes: request.maxOutputBytes)
    guard !verdict.isInOverflow || request.hasOverflow else { throw MessageError() }
    return verdict
  }
}
