import SaveDisk
import Transfer

/// What holds QEMU's state and nothing else.
extension SaveFileWalk {
  /// A volume is filled up with zeros, but a pipe must end somewhere.
  public static let maxPaddingBytes: UInt64 = 64 << 30

  /// All bytes up to the end.
  mutating func readStateFile() throws(SaveFileFailure) {
    var copied: UInt64 = 0
    /// Behind what has been copied, in the output only once something else follows.
    var zeros: UInt64 = 0
    while true {
      zeros += try skipHole()
      if zeros > SaveFileWalk.maxPaddingBytes { throw tooManyZeros(zeros, at: copied) }
      let piece = try fetch(DiskInput.maxFetchBytes)
      if piece == 0 { break }
      if position == 0 { keepStart(piece) }
      if let last = input.bytes(piece).lastNonZero {
        let count = copied + zeros + UInt64(last) + 1
        if count > maxStateBytes { throw .file(stateFile(count).overLimit) }
        try writeZeros(zeros)
        try write(last + 1)
        copied = count
        zeros = UInt64(piece - last - 1)
      } else {
        zeros += UInt64(piece)
      }
      consume(piece)
    }
    let kept = min(zeros, maxKeptZeroBytes)
    try writeZeros(kept)
    note(stateFile(copied + kept))
    accept(SaveFileEntry(.stateFile, at: 0, bytes: position))
  }

  /// Leaves the rest of a hole behind; its length if this is one.
  private mutating func skipHole() throws(SaveFileFailure) -> UInt64 {
    let hole = input.shape.hole
    guard hole.contains(position) else { return 0 }
    let count = hole.upperBound - position
    try skip(count, of: .stateFile)
    return count
  }

  private func tooManyZeros(_ zeros: UInt64, at offset: UInt64) -> SaveFileFailure {
    fail(.overLimit, .stateFile, .trailing, at: offset, found: zeros)
  }

  private func stateFile(_ bytes: UInt64) -> SavedState {
    SavedState(offset: 0, bytes: bytes, structure: .stateFile, recordOffset: 0)
  }

  /// An EMULATOR_CONTEXT, and zeros at most behind it.
  mutating func readSingleRecord() throws(SaveFileFailure) {
    let head = try readRecordHead(.emulatorContext)
    guard head.bodyBytes >= 8 else {
      throw fail(
        .corrupt, .emulatorContext, .bodyLength, at: head.offset + 4,
        found: UInt64(head.bodyBytes))
    }
    try readEmulatorRecord(head, .emulatorContext)
    let end = position
    while true {
      _ = try skipHole()
      if position - end > SaveFileWalk.maxPaddingBytes {
        throw fail(.overLimit, .saveFile, .trailing, at: end, found: position - end)
      }
      let piece = try fetch(DiskInput.maxFetchBytes)
      if piece == 0 { return }
      if let first = input.bytes(piece).firstNonZero {
        throw fail(
          .corrupt, .saveFile, .trailing, at: position + UInt64(first),
          found: UInt64(input.bytes(piece).byte(at: first)))
      }
      consume(piece)
    }
  }
}
