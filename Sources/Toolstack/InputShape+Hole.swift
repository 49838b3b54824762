import QEMUState
import SaveDisk
import SystemIO
import Transfer

extension InputShape {
  /// What is shorter is read sooner than holes are looked for.
  private static let minBytes: UInt64 = 16 << 20

  /// The same, with the hole that matters most for a state: the one at the file's end, or else the one
  /// that begins where no state may be any more.
  func notingHole(of input: borrowing FileDescriptor, _ limits: ReaderLimits) -> InputShape {
    guard kind == .file, let totalBytes, totalBytes > Self.minBytes else { return self }
    let places = [totalBytes - 1, limits.maxStateBytes + StateFile.maxTrailerBytes]
    for place in places where place < totalBytes {
      // Whoever cannot be asked has none.
      let found = try? input.hole(around: start + place, ofFile: start + totalBytes)
      guard let hole = found, hole.upperBound > start else { continue }
      return with(hole: (max(hole.lowerBound, start) - start)..<(hole.upperBound - start))
    }
    return self
  }
}
