/// What a writer says of a stream beside its name (formats/save-disk.md, section 5.3).
public struct StreamFlags: Equatable, Sendable, BitwiseCopyable {
  public let bits: UInt32

  public init(bits: UInt32) { self.bits = bits }

  /// Whoever knows no such stream can do nothing with the disk.
  public static let mustUnderstand = StreamFlags(bits: 1)
  public static let none = StreamFlags(bits: 0)

  var isValid: Bool { bits & ~StreamFlags.mustUnderstand.bits == 0 }
}

/// Which streams a reader knows, so that it may take a disk that has one that must be understood.
public enum KnownStreams: Sendable, BitwiseCopyable {
  /// `qemu` and `metadata`.
  case ours
  /// These, and the one that was asked for.
  case asked(StreamName)
  /// The writer's, which checks what it was told to write.
  case all

  func contain(_ name: StreamName) -> Bool {
    switch self {
    case .ours: name == .qemu || name == .metadata
    case .asked(let asked): name == asked || name == .qemu || name == .metadata
    case .all: true
    }
  }
}

/// A stream's name: 1 to 32 bytes of `a-z`, `0-9`, `-`, `.`, `_`, not beginning with a mark.
/// Safe to print anywhere as it is.
public struct StreamName: Sendable, BitwiseCopyable {
  /// The name's bytes, then zeros.
  let storage: InlineArray<32, UInt8>
  public let count: Int

  /// QEMU's device state, byte for byte.
  public static let qemu = StreamName("qemu")
  /// What the state belongs to: QEMU's version, machine, digest of its arguments.
  public static let metadata = StreamName("metadata")

  /// A name spelled in the program; traps if it is no valid one.
  public init(_ literal: StaticString) {
    let bytes = unsafe UnsafeBufferPointer(
      start: literal.utf8Start, count: literal.utf8CodeUnitCount)
    guard let name = unsafe StreamName(validating: RawSpan(_unsafeElements: bytes)) else {
      fatalError("not a stream name")
    }
    self = name
  }

  /// Nil if the bytes are no valid name.
  public init?(validating bytes: RawSpan) {
    guard bytes.byteCount >= 1 && bytes.byteCount <= FormatLimits.maxNameBytes,
      StreamName.firstInvalid(in: bytes) == nil
    else { return nil }
    var storage = InlineArray<32, UInt8>(repeating: 0)
    for index in 0..<bytes.byteCount { storage[index] = bytes.byte(at: index) }
    self.storage = storage
    self.count = bytes.byteCount
  }

  /// Byte `index` of the name, below `count`.
  public subscript(index: Int) -> UInt8 {
    precondition(index < count)
    return storage[index]
  }

  /// Offset of the first byte that may not stand where it stands, or nil.
  static func firstInvalid(in bytes: RawSpan) -> Int? {
    for index in 0..<bytes.byteCount {
      switch bytes.byte(at: index) {
      case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "0")...UInt8(ascii: "9"): continue
      case UInt8(ascii: "-"), UInt8(ascii: "."), UInt8(ascii: "_"):
        if index == 0 { return index }
      default: return index
      }
    }
    return nil
  }
}

extension StreamName: Equatable {
  public static func == (left: StreamName, right: StreamName) -> Bool {
    guard left.count == right.count else { return false }
    for index in 0..<left.count where left.storage[index] != right.storage[index] { return false }
    return true
  }
}
