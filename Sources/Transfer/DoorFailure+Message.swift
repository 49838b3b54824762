import SaveDisk
import SystemIO

/// What went wrong, 48 bytes: which kind; verdict or call, structure, field; offset or errno, found,
/// expected.
extension DoorFailure {
  public static let messageBytes = 48

  private enum Kind: UInt32 {
    case none = 0
    case disk = 1
    case input = 2
    case output = 3
    case noSuchStream = 4
  }

  public static func encode(_ failure: DoorFailure?, into bytes: inout [UInt8]) {
    switch failure {
    case nil: encode(Kind.none, into: &bytes)
    case .disk(let error)?: error.encode(into: &bytes)
    case .input(let error)?: encode(Kind.input, error, into: &bytes)
    case .output(let error)?: encode(Kind.output, error, into: &bytes)
    case .noSuchStream?: encode(Kind.noSuchStream, into: &bytes)
    // Nobody looks from within the decoder into another one.
    case .decoder?: preconditionFailure("a decoder of a decoder")
    }
  }

  private static func encode(
    _ kind: Kind, _ error: SystemError? = nil, into bytes: inout [UInt8]
  ) {
    bytes.append(littleEndian: kind.rawValue)
    bytes.append(littleEndian: error.map { UInt32($0.call.rawValue) } ?? 0)
    bytes.append(littleEndian: UInt64(0))
    bytes.append(littleEndian: UInt64(UInt32(bitPattern: error?.errno ?? 0)))
    for _ in 0..<3 { bytes.append(littleEndian: UInt64(0)) }
  }

  public static func parse(_ cursor: inout ByteCursor) throws(MessageError) -> DoorFailure? {
    guard let kind = Kind(rawValue: cursor.littleEndianUInt32()) else { throw MessageError() }
    let first = cursor.littleEndianUInt32()
    let structure = cursor.littleEndianUInt32()
    let field = cursor.littleEndianUInt32()
    let offset = cursor.littleEndianUInt64()
    let found = cursor.littleEndianUInt64()
    let expected = cursor.littleEndianUInt64()
    guard cursor.littleEndianUInt64() == 0 else { throw MessageError() }
    switch kind {
    case .none: return nil
    case .noSuchStream: return .noSuchStream
    case .disk:
      guard let verdict = VerdictClass(rawValue: UInt8(clamping: first)), verdict != .good,
        let structure = DiskStructure(rawValue: UInt8(clamping: structure)),
        let field = DiskField(rawValue: UInt8(clamping: field))
      else { throw MessageError() }
      return .disk(
        DiskError(verdict, structure, field, at: offset, found: found, expected: expected))
    case .input: return .input(try error(first, offset))
    case .output: return .output(try error(first, offset))
    }
  }

  /// Error numbers are 1 to 4095 (include/linux/err.h, MAX_ERRNO).
  private static func error(
    _ call: UInt32, _ errno: UInt64
  ) throws(MessageError) -> SystemError {
    guard let call = SystemCall(rawValue: UInt8(clamping: call)), errno >= 1, errno <= 4095 else {
      throw MessageError()
    }
    return SystemError(call, errno: Int32(errno))
  }
}

extension DiskError {
  /// As `DoorFailure.disk`, 48 bytes.
  fileprivate func encode(into bytes: inout [UInt8]) {
    bytes.append(littleEndian: UInt32(1))
    bytes.append(littleEndian: UInt32(verdict.rawValue))
    bytes.append(littleEndian: UInt32(structure.rawValue))
    bytes.append(littleEndian: UInt32(field.rawValue))
    bytes.append(littleEndian: offset)
    bytes.append(littleEndian: found)
    bytes.append(littleEndian: expected)
    bytes.append(littleEndian: UInt64(0))
  }
}

extension ByteCursor {
  /// 0 or 1, in 8 bytes.
  public mutating func flag() throws(MessageError) -> Bool {
    switch littleEndianUInt64() {
    case 0: false
    case 1: true
    default: throw MessageError()
    }
  }

  public mutating func bounded(_ most: UInt64) throws(MessageError) -> UInt64 {
    let value = littleEndianUInt64()
    if value > most { throw MessageError() }
    return value
  }

  mutating func count(atMost most: UInt64) throws(MessageError) -> Int {
    Int(clamping: try bounded(most))
  }

  /// 32 bytes, then how many of them count, in 8.
  public mutating func streamName() throws(MessageError) -> StreamName {
    var bytes: [UInt8] = []
    for _ in 0..<8 {
      let word = littleEndianUInt32()
      for index in 0..<4 { bytes.append(UInt8(truncatingIfNeeded: word >> UInt32(8 * index))) }
    }
    let count = Int(clamping: try bounded(UInt64(FormatLimits.maxNameBytes)))
    let rest = unsafe bytes.span.bytes.extracting(count..<bytes.count)
    guard rest.isAllZero,
      let name = unsafe StreamName(validating: bytes.span.bytes.extracting(0..<count))
    else { throw MessageError() }
    return name
  }
}
