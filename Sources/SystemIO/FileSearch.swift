import CSystem

/// Looking for words in files, such as programs, that are too large to be read at once.
public enum FileSearch {
  private static let pieceBytes = 1 << 20

  /// Whether the word stands in the file.
  public static func contains(_ word: StaticString, in path: SystemPath) throws(SystemError) -> Bool
  {
    let file = try FileDescriptor.open(path, .read)
    var buffer = AlignedBuffer(byteCount: pieceBytes)
    return try offset(of: word, in: file, from: 0, &buffer) != nil
  }

  /// The C strings in a file that hold the word: each as far as the bytes of value 0 around it.
  ///
  /// - Parameters:
  ///   - maxBytes: longer ones are left out.
  ///   - maxCount: so many, from the front.
  public static func strings(
    holding word: StaticString, in path: SystemPath, maxBytes: Int, maxCount: Int
  ) throws(SystemError) -> [[UInt8]] {
    let file = try FileDescriptor.open(path, .read)
    var buffer = AlignedBuffer(byteCount: pieceBytes)
    var strings: [[UInt8]] = []
    var start: UInt64 = 0
    while strings.count < maxCount {
      guard let found = try offset(of: word, in: file, from: start, &buffer) else { break }
      let first = found - min(found, UInt64(maxBytes))
      var target = buffer.mutableBytes(0..<2 * maxBytes)
      let count = try file.read(into: &target, from: 0, at: first)
      let before = buffer.array(0..<Int(found - first))
      let after = buffer.array(Int(found - first)..<count).prefix { $0 != 0 }
      let head = before.lastIndex(of: 0).map { before[($0 + 1)...] } ?? before[...]
      if head.count + after.count <= maxBytes { strings.append([UInt8](head) + after) }
      start = found + UInt64(after.count)
    }
    return strings
  }

  /// Where the word stands for the first time at or behind `start`.
  private static func offset(
    of word: StaticString, in file: borrowing FileDescriptor, from start: UInt64,
    _ buffer: inout AlignedBuffer
  ) throws(SystemError) -> UInt64? {
    precondition(word.utf8CodeUnitCount > 0 && word.utf8CodeUnitCount < pieceBytes)
    // The last bytes of the piece before are at the front: the word may begin there.
    var kept = 0
    var start = start
    while true {
      var target = buffer.mutableBytes(0..<pieceBytes)
      let count = try file.read(into: &target, from: kept, at: start + UInt64(kept))
      if count == 0 { return nil }
      let filled = kept + count
      if let found = find(word, in: buffer.bytes(0..<filled)) { return start + UInt64(found) }
      kept = min(filled, word.utf8CodeUnitCount - 1)
      start += UInt64(filled - kept)
      buffer.moveToFront(filled - kept..<filled)
    }
  }

  private static func find(_ word: StaticString, in bytes: RawSpan) -> Int? {
    unsafe bytes.withUnsafeBytes { buffer in
      let found = unsafe stubsave_find(
        buffer.baseAddress, buffer.count, word.utf8Start, word.utf8CodeUnitCount)
      return found < 0 ? nil : found
    }
  }
}
