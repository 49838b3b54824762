extension FileDescriptor {
  /// Bytes copied in one piece.
  private static let pieceBytes = 262_144

  /// What fits into a pipe at once if poll(2) calls it writable (pipe(7), PIPE_BUF).
  private static let pipeBytes = 4096

  /// Copies `bytes` bytes of this file, from `offset` on, to where `target` stands. A file that is
  /// shorter is an error (EIO).
  ///
  /// - Parameter signals: the number of `EndingSignals`: once one has come in, no more is written
  ///   (EINTR), also while a pipe is full. Nil if signals are not held back.
  public func copy(
    from offset: UInt64 = 0, bytes: UInt64, to target: borrowing FileDescriptor,
    heeding signals: Int32? = nil
  ) throws(SystemError) {
    // Page-aligned and in whole pieces, so that O_DIRECT can read what is a multiple of sectors.
    var buffer = AlignedBuffer(
      byteCount: Int(min(max(bytes, 1), UInt64(FileDescriptor.pieceBytes))))
    // A file takes everything at once; a pipe only so much without waiting.
    let isFile = signals == nil ? true : try target.status().kind == .regular
    var done: UInt64 = 0
    while done < bytes {
      let wanted = Int(min(bytes - done, UInt64(FileDescriptor.pieceBytes)))
      var piece = buffer.mutableBytes(0..<wanted)
      let count = try read(into: &piece, from: 0, at: offset + done)
      if count == 0 { throw SystemError(.pread, errno: Errno.ioError) }
      if let signals {
        try FileDescriptor.write(
          buffer, count, to: target.number, pieceBytes: isFile ? count : FileDescriptor.pipeBytes,
          heeding: signals)
      } else {
        try target.writeAll(buffer.bytes(0..<count))
      }
      done += UInt64(count)
    }
  }

  private static func write(
    _ buffer: borrowing AlignedBuffer, _ count: Int, to number: Int32, pieceBytes: Int,
    heeding signals: Int32
  ) throws(SystemError) {
    var done = 0
    while done < count {
      let ready = try Syscalls.poll(
        number, events: Syscalls.writable, signals, timeoutMilliseconds: -1)
      if ready.second { throw SystemError(.write, errno: Errno.interrupted) }
      if !ready.first { continue }
      let end = min(done + pieceBytes, count)
      do throws(SystemError) {
        let written = try FileDescriptor(borrowing: number).writeSome(buffer.bytes(done..<end))
        if written == 0 { throw SystemError(.write, errno: Errno.ioError) }
        done += written
      } catch {
        // With O_NONBLOCK: what poll(2) calls writable may take less than a piece.
        guard error.errno == Errno.wouldBlock else { throw error }
      }
    }
  }

  /// `count` bytes of this file, from `offset` on. A file that is shorter is an error (EIO).
  ///
  /// - Parameter count: bounded by the caller before.
  public func bytes(
    from offset: UInt64 = 0, count: UInt64
  ) throws(SystemError) -> [UInt8] {
    var bytes: [UInt8] = []
    var buffer = AlignedBuffer(byteCount: FileDescriptor.pieceBytes)
    while UInt64(bytes.count) < count {
      let wanted = Int(min(count - UInt64(bytes.count), UInt64(FileDescriptor.pieceBytes)))
      var piece = buffer.mutableBytes(0..<wanted)
      let fetched = try read(into: &piece, from: 0, at: offset + UInt64(bytes.count))
      if fetched == 0 { throw SystemError(.pread, errno: Errno.ioError) }
      bytes += buffer.array(0..<fetched)
    }
    return bytes
  }
}
