import CSystem

extension SystemError {
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
