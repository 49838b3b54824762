extension FileDescriptor {
  /// What is to be read up to the end, at most so many bytes: for files of the kernel's, such as those in
  /// /proc, that have no length.
  public func contents(maxBytes: Int) throws(SystemError) -> [UInt8] {
    let pieceBytes = 65_536
    var buffer = AlignedBuffer(byteCount: pieceBytes)
    var bytes: [UInt8] = []
    while bytes.count < maxBytes {
      var target = buffer.mutableBytes(0..<min(pieceBytes, maxBytes - bytes.count))
      let count = try read(into: &target, from: 0)
      if count == 0 { break }
      bytes += buffer.array(0..<count)
    }
    return bytes
  }
}
