/// A path as the system takes it: bytes, of whatever encoding, ended by NUL.
public struct SystemPath: Sendable {
  /// The bytes and the NUL.
  let nullTerminated: [UInt8]

  /// From a C string, such as an element of argv.
  @unsafe public init(copying cString: UnsafePointer<CChar>) {
    var bytes: [UInt8] = []
    var cursor = unsafe cString
    while unsafe cursor.pointee != 0 {
      unsafe bytes.append(UInt8(bitPattern: cursor.pointee))
      unsafe cursor += 1
    }
    bytes.append(0)
    nullTerminated = bytes
  }

  /// Nil if the path has a NUL in it, which no file can have.
  public init?(bytes: [UInt8]) {
    if bytes.contains(0) { return nil }
    nullTerminated = bytes + [0]
  }

  /// Nil if the path has a NUL in it, which no file can have.
  public init?(_ string: String) { self.init(bytes: [UInt8](string.utf8)) }

  /// A path, or another word that the system takes, of the program's own; without a NUL in it.
  ///
  /// - Parameter number: follows in decimal.
  public init(word prefix: StaticString, number: UInt64? = nil) {
    var bytes = unsafe [UInt8](
      UnsafeBufferPointer(start: prefix.utf8Start, count: prefix.utf8CodeUnitCount))
    if var rest = number {
      let start = bytes.count
      repeat {
        bytes.insert(UInt8(ascii: "0") + UInt8(rest % 10), at: start)
        rest /= 10
      } while rest > 0
    }
    self.init(unchecked: bytes)
  }

  /// The path's bytes, without the NUL.
  public var bytes: ArraySlice<UInt8> { nullTerminated.dropLast() }

  /// The directory part, "." if there is none; and what follows it.
  public var directoryAndName: (directory: SystemPath, name: SystemPath) {
    let bytes = self.bytes
    guard let slash = bytes.lastIndex(of: UInt8(ascii: "/")) else {
      return (SystemPath(unchecked: [UInt8(ascii: ".")]), self)
    }
    let directory = slash == 0 ? [UInt8(ascii: "/")] : [UInt8](bytes[..<slash])
    return (SystemPath(unchecked: directory), SystemPath(unchecked: [UInt8](bytes[(slash + 1)...])))
  }

  /// This directory's entry `name`; nil if that has a NUL in it.
  public func appending(_ name: [UInt8]) -> SystemPath? {
    SystemPath(bytes: [UInt8](bytes) + [UInt8(ascii: "/")] + name)
  }

  /// This path, another, and a word of the program's own, with nothing between.
  func joined(_ other: SystemPath, _ word: StaticString) -> SystemPath {
    SystemPath(
      unchecked: [UInt8](bytes) + other.bytes + SystemPath(word: word).bytes)
  }

  private init(unchecked bytes: [UInt8]) { nullTerminated = bytes + [0] }

  func withCString<R>(_ body: (UnsafePointer<CChar>) -> R) -> R {
    unsafe nullTerminated.withUnsafeBytes {
      unsafe body($0.baseAddress!.assumingMemoryBound(to: CChar.self))
    }
  }
}
