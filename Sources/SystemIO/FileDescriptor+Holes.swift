extension FileDescriptor {
  private static let holeBlockBytes: UInt64 = 4096

  /// Where the next bytes at or behind `offset` are that are no hole of a regular file; nil if there
  /// are none up to its end. Unless it is nil, `read` goes on there.
  public func seekToData(from offset: UInt64) throws(SystemError) -> UInt64? {
    try Syscalls.seekData(number, from: offset)
  }

  /// The hole of a regular file in which `offset` lies: there the file is zeros, and need not be
  /// read. Begins with a whole block. Nil if there is none. `read` goes on where it was.
  ///
  /// - Parameter bytes: the file's length, more than `offset`.
  public func hole(
    around offset: UInt64, ofFile bytes: UInt64
  ) throws(SystemError) -> Range<UInt64>? {
    let before = try self.offset()
    let found: Range<UInt64>?
    do throws(SystemError) {
      found = try findHole(around: offset, bytes)
    } catch {
      try? seek(to: before)
      throw error
    }
    try seek(to: before)
    return found
  }

  private func findHole(
    around offset: UInt64, _ bytes: UInt64
  ) throws(SystemError) -> Range<UInt64>? {
    let end = try dataStart(from: offset, bytes)
    if end <= offset { return nil }
    // What comes next is the same from every place of the hole, and something else from before it.
    var (low, high) = (UInt64(0), offset / Self.holeBlockBytes)
    while low < high {
      let middle = (low + high) / 2
      if try dataStart(from: middle * Self.holeBlockBytes, bytes) == end {
        high = middle
      } else {
        low = middle + 1
      }
    }
    let start = low * Self.holeBlockBytes
    return start < end ? start..<end : nil
  }

  private func dataStart(
    from offset: UInt64, _ bytes: UInt64
  ) throws(SystemError) -> UInt64 {
    min(try seekToData(from: offset) ?? bytes, bytes)
  }
}
