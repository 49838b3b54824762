/// A message of another program does not say what such a message may say.
public struct MessageError: Error, Equatable, Sendable, BitwiseCopyable {
  public init() {}
}

extension [UInt8] {
  public mutating func append(littleEndian value: UInt32) {
    for index in 0..<4 { append(UInt8(truncatingIfNeeded: value >> UInt32(8 * index))) }
  }

  public mutating func append(littleEndian value: UInt64) {
    append(littleEndian: UInt32(truncatingIfNeeded: value))
    append(littleEndian: UInt32(truncatingIfNeeded: value >> 32))
  }
}
