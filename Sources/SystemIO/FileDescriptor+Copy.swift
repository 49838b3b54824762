extension FileDescriptor {
  /// Bytes copied in one piece.
  private static let pieceBytes = 262_144

  /// Copies the first `bytes` of this file to where `target` stands. A file that is shorter is an
  /// error (EIO).
  public func copy(
    bytes: UInt64, to target: borrowing FileDescriptor
  ) throws(SystemError) {
    var buffer = AlignedBuffer(byteCount: FileDescriptor.pieceBytes)
    var done: UInt64 = 0
    while done < bytes {
      let wanted = Int(min(bytes - done, UInt64(FileDescriptor.pieceBytes)))
      var piece = buffer.mutableBytes(0..<wanted)
      let count = try read(into: &piece, from: 0, at: done)
      if count == 0 { throw SystemError(.pread, errno: Errno.ioError) }
      try target.writeAll(buffer.bytes(0..<count))
      done += UInt64(count)
    }
  }
}
