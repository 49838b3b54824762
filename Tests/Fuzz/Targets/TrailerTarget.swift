import SaveDisk
import SystemIO
import TestSupport
import Transfer

@testable import QEMUState

/// The end of a state file.
@c(stubsave_fuzz_trailer)
public func fuzzTrailer(_ bytes: UnsafePointer<UInt8>?, _ count: Int) {
  let input = unsafe Input(bytes, count)
  var options = ReadOptions()
  options.limits = ReaderLimits(maxStateBytes: 65_536)
  switch StateFile.check(Scratch.file(input.span), bytes: UInt64(count), options: options) {
  case .good(let facts):
    require(
      facts.wholeBytes + facts.paddingBytes == UInt64(count), "lengths that do not fit")
    let padding = input.span.extracting(Int(facts.wholeBytes)..<count)
    require(padding.isAllZero, "what is not zero follows the trailer")
    let state = input.span.extracting(0..<Int(facts.stateBytes))
    require(Hash.digest(state) == facts.stateDigest, "another digest")
    require(facts.metadata.count <= Int(FormatLimits.maxMetadataBytes), "long metadata")
  case .failed(let error): check(error, inputBytes: count)
  case .none:
    // The limit of any device's; and the magic is not in the last bytes.
    require(zeroTail(input.span) <= 65_536, "a state that is not refused for its zeros")
    require(!hasFooterMagic(input.span), "a trailer that has been passed over")
  case .unreadable(let error): finding("unreadable: \(error)")
  }
}

private func zeroTail(_ file: RawSpan) -> Int {
  file.byteCount - (file.lastNonZero.map { $0 + 1 } ?? 0)
}

/// Whether the footer's magic stands among the last bytes that are looked at.
private func hasFooterMagic(_ file: RawSpan) -> Bool {
  let end = file.byteCount - zeroTail(file)
  guard end >= 13 else { return false }
  for offset in max(0, end - Int(StateFile.maxTrailerBytes) - 64)...(end - 13) {
    var matching = 0
    while matching < 13 && file.byte(at: offset + matching) == StateFooter.magic[matching] {
      matching += 1
    }
    if matching == 13 { return true }
  }
  return false
}

/// The metadata's disk changed, the footer made right to some degree.
@c(stubsave_mutate_trailer)
public func mutateTrailer(
  _ bytes: UnsafeMutablePointer<UInt8>, _ count: Int, _ room: Int, _ seed: UInt32
) -> Int {
  typealias Offset = StateFooter.Offset
  var generator = SeededGenerator(seed: UInt64(seed))
  var file = unsafe load(bytes, count)
  guard file.count >= StateFooter.byteCount else { return count }
  var footer = [UInt8](file.suffix(StateFooter.byteCount))
  file.removeLast(StateFooter.byteCount)
  // The disk of the metadata, where there is one: from its magic on.
  let start = beginOfDisk(file) ?? file.count
  var disk = [UInt8](file[start...])
  if !disk.isEmpty && generator.next() % 2 == 0 { mutate(disk: &disk, &generator) }
  file = file[..<start] + disk
  if generator.next() % 8 != 0 {
    Mending.put(StateFooter.magic, &footer, Offset.magic)
    Mending.put(UInt64(start), &footer, Offset.stateBytes)
    Mending.put(UInt64(disk.count), &footer, Offset.metadataBytes)
    Mending.put(Mending.digest(file, 0..<start), &footer, Offset.stateDigest)
  }
  if generator.next() % 2 == 0 {
    Mutation.changeField(of: &footer, fields, at: 0, &generator)
  }
  let metadata = min(Int(clamping: Mending.word(footer, Offset.metadataBytes, 8)), file.count)
  var hash = WordHashStream()
  unsafe hash.update(file.span.bytes.extracting((file.count - metadata)..<file.count))
  unsafe hash.update(footer.span.bytes.extracting(StateFooter.hashedBytes))
  if generator.next() % 16 != 0 {
    Mending.put(hash.value().byteSwapped, &footer, Offset.hash)
  }
  file += footer
  // Padded, followed by something, or cut: the trailer is there all the same.
  switch generator.next() % 8 {
  case 0: file += [UInt8](repeating: 0, count: Int(generator.next() % 600))
  case 1: file += [UInt8](repeating: 0, count: Int(generator.next() % 9)) + [1]
  case 2: file.removeLast(min(file.count, Int(generator.next() % 80)))
  default: break
  }
  return unsafe store(file, bytes, room)
}

private let fields = [
  FormatField(offset: StateFooter.Offset.version, size: 4),
  FormatField(offset: StateFooter.Offset.requiredFeatures, size: 4),
  FormatField(offset: StateFooter.Offset.stateBytes, size: 8),
  FormatField(offset: StateFooter.Offset.metadataBytes, size: 8),
  FormatField(offset: StateFooter.Offset.stateDigest, size: 8),
]

private func beginOfDisk(_ file: [UInt8]) -> Int? {
  guard file.count >= 16 else { return nil }
  let first = UInt8(truncatingIfNeeded: Layout.magic.first)
  for offset in 0...(file.count - 16) where file[offset] == first {
    if Mending.bytes16(file, offset) == Layout.magic { return offset }
  }
  return nil
}
