import CSystem

extension SystemError {
  /// The call and the words: "pread: Input/output error".
  public var text: [UInt8] {
    let name = call.name
    let bytes = unsafe [UInt8](
      UnsafeBufferPointer(start: name.utf8Start, count: name.utf8CodeUnitCount))
    return bytes + [UInt8(ascii: ":"), UInt8(ascii: " ")] + words
  }

  /// Why the last call of a C library's has failed, if it has (errno).
  public static var lastNumber: Int32 { stubsave_errno() }

  /// The other side of a connection has gone.
  public var meansClosed: Bool { errno == Errno.brokenPipe || errno == Errno.connectionReset }

  /// The system's own words for the error, ASCII in the C locale.
  public var words: [UInt8] {
    var bytes: [UInt8] = []
    guard let text = unsafe strerror(errno) else { return bytes }
    var cursor = unsafe text
    while unsafe cursor.pointee != 0 {
      unsafe bytes.append(UInt8(bitPattern: cursor.pointee))
      unsafe cursor += 1
    }
    return bytes
  }
}
