import SaveDisk
import SystemIO
import Transfer

/// Why the reading of a save file ended before its end.
public enum SaveFileFailure: Error, Equatable, Sendable, BitwiseCopyable {
  case file(SaveFileError)
  case input(SystemError)
  case output(SystemError)
}

/// One pass over a save file: framing, and QEMU's state to the output (formats/containers.md).
///
/// Of a record at most 8 KiB are held at a time; what need not be looked at is passed over.
public struct SaveFileWalk: ~Copyable {
  /// Of xenstore pairs and page numbers.
  static let pieceBytes = 8192
  /// Of a state: what it is shows in these.
  private static let startBytes = 8192
  /// Behind the end, of a pipe: so many are passed over before somebody is told of them.
  private static let countedBytes: UInt64 = 1 << 20

  var input: DiskInput
  private var writer: DoorWriter
  let maxStateBytes: UInt64
  let maxKeptZeroBytes: UInt64
  private let isListing: Bool
  private let advanced: ((Int) -> Void)?
  /// Of the next byte.
  var position: UInt64 = 0
  public private(set) var facts = SaveFileFacts()
  /// The guest's configuration says that it is one: then it has no emulator.
  var isPVH = false
  /// What a writer puts last has come: QEMU's state, or of a guest without one its processors.
  var hasLastRecords = false
  /// The first bytes of a state that is too large.
  public internal(set) var stateStart: [UInt8] = []
  /// The first `SaveFileEntry.maxCount` of them, encoded.
  public private(set) var entries: [UInt8] = []

  /// - Parameters:
  ///   - input: nothing of it has been consumed.
  ///   - output: for the state.
  ///   - maxStateBytes: that it may have, its trailer with it.
  ///   - maxKeptZeroBytes: of zeros at the end of a state by itself so many go to the output.
  ///   - advanced: is told of the bytes of the file that have been gone through.
  public init(
    _ input: consuming DiskInput, format: SaveFileFormat, output: borrowing DoorOutput,
    maxStateBytes: UInt64, maxKeptZeroBytes: UInt64, isListing: Bool,
    advanced: ((Int) -> Void)? = nil
  ) {
    self.input = input
    self.maxStateBytes = maxStateBytes
    self.maxKeptZeroBytes = maxKeptZeroBytes
    self.isListing = isListing
    self.advanced = advanced
    writer = DoorWriter(output)
    facts.format = format
  }

  /// Of the state in the output.
  public var outputPosition: OutputPosition { writer.position }

  /// Walks to the end. Returns only if the framing is good; to be called once.
  public mutating func run() throws(SaveFileFailure) {
    switch facts.format {
    case .xl: try readXLHeader()
    case .libvirt: try readLibvirtHeader()
    case .libxl: break
    case .xenopsd:
      try readSuspendImage()
      facts.bytesBehind = try countRest()
      return
    case .state: return try readStateFile()
    case .emulatorContext: return try readSingleRecord()
    case nil: preconditionFailure("a save file without a format")
    }
    try readLibxlStream()
    let bytesBehind = try countRest()
    // END is zeros: in a file whose end was lost and reads as zeros, there is one as well.
    guard bytesBehind == 0 || hasLastRecords else {
      throw fail(.corrupt, .saveFile, .trailing, at: facts.bytes)
    }
    facts.bytesBehind = bytesBehind
  }

  /// How many bytes follow: what a restorer does not read. A pipe is read to its end, so that who writes
  /// into it can.
  private mutating func countRest() throws(SaveFileFailure) -> UInt64 {
    if let total = input.shape.totalBytes { return total - min(total, position) }
    var sum: UInt64 = 0
    while true {
      let done: UInt64
      do throws(SystemError) {
        done = try input.skip(SaveFileWalk.countedBytes)
      } catch {
        throw .input(error)
      }
      advanced?(Int(done))
      sum += done
      if done < SaveFileWalk.countedBytes { return sum }
    }
  }

  func fail(
    _ verdict: VerdictClass, _ structure: SaveFileStructure, _ field: SaveFileField,
    at offset: UInt64, found: UInt64 = 0
  ) -> SaveFileFailure {
    .file(SaveFileError(verdict, structure, field, at: offset, found: found))
  }

  mutating func fetch(_ count: Int) throws(SaveFileFailure) -> Int {
    do throws(SystemError) { return try input.fetch(count) } catch { throw .input(error) }
  }

  /// Has the next `count` bytes fetched, at most `DiskInput.maxFetchBytes`.
  mutating func need(
    _ count: Int, of structure: SaveFileStructure
  ) throws(SaveFileFailure) {
    let fetched = try fetch(count)
    if fetched < count { throw end(of: structure, behind: fetched) }
  }

  /// That the input ends, so many bytes on.
  func end(of structure: SaveFileStructure, behind count: Int) -> SaveFileFailure {
    fail(.incomplete, structure, .end, at: position + UInt64(count))
  }

  /// Leaves fetched bytes behind.
  mutating func consume(_ count: Int) {
    input.consume(count)
    advanced?(count)
    position += UInt64(count)
  }

  mutating func skip(
    _ count: UInt64, of structure: SaveFileStructure
  ) throws(SaveFileFailure) {
    let done: UInt64
    do throws(SystemError) { done = try input.skip(count) } catch { throw .input(error) }
    advanced?(Int(clamping: done))
    position += done
    if done < count { throw end(of: structure, behind: 0) }
  }

  /// Fails unless `range` of the fetched bytes is zero.
  func requireZeros(
    _ range: Range<Int>, _ structure: SaveFileStructure, _ field: SaveFileField
  ) throws(SaveFileFailure) {
    let bytes = input.bytes(range.upperBound).extracting(range)
    if let first = bytes.firstNonZero {
      throw fail(
        .corrupt, structure, field, at: position + UInt64(range.lowerBound + first),
        found: UInt64(bytes.byte(at: first)))
    }
  }

  /// The zeros behind a body of libxl's or libxc's.
  mutating func readPadding(
    _ bodyBytes: UInt32, of structure: SaveFileStructure
  ) throws(SaveFileFailure) {
    let count = Int(7 & (8 - bodyBytes % 8))
    if count == 0 { return }
    try need(count, of: structure)
    try requireZeros(0..<count, structure, .padding)
    consume(count)
  }

  /// Notes what has been found right, up to where the walk stands.
  mutating func accept(_ entry: SaveFileEntry) {
    facts.entryCount += 1
    facts.bytes = position
    if isListing && facts.entryCount <= UInt64(SaveFileEntry.maxCount) {
      entry.encode(into: &entries)
    }
  }

  /// QEMU's state, the next `count` bytes, to the output.
  mutating func copyState(
    _ count: UInt64, _ structure: SaveFileStructure, recordOffset: UInt64
  ) throws(SaveFileFailure) {
    let state = SavedState(
      offset: position, bytes: count, structure: structure, recordOffset: recordOffset)
    if facts.state != nil { throw fail(.unsupported, structure, .type, at: recordOffset) }
    if count > maxStateBytes {
      keepStart(try fetch(Int(min(count, UInt64(SaveFileWalk.startBytes)))))
      throw .file(state.overLimit)
    }
    let magic: StaticString = "QEVM"
    let field: SaveFileField = structure == .emulatorContext ? .emulatorCtx : .record
    guard count >= 4 else { throw fail(.corrupt, structure, field, at: position) }
    try need(4, of: structure)
    guard input.bytes(4).begins(with: magic) else {
      throw fail(.corrupt, structure, field, at: position)
    }
    var left = count
    while left > 0 {
      let piece = try fetch(Int(min(left, UInt64(DiskInput.maxFetchBytes))))
      if piece == 0 { throw end(of: structure, behind: 0) }
      try write(piece)
      consume(piece)
      left -= UInt64(piece)
    }
    note(state)
    hasLastRecords = true
  }

  /// Of the fetched bytes as many as show what a state is.
  mutating func keepStart(_ count: Int) {
    stateStart.removeAll()
    for index in 0..<min(count, SaveFileWalk.startBytes) {
      stateStart.append(input.bytes(count).byte(at: index))
    }
  }

  /// That the output holds a state.
  mutating func note(_ state: SavedState) { facts.state = state }

  /// So many of the fetched bytes, to the output.
  mutating func write(_ count: Int) throws(SaveFileFailure) {
    do throws(SystemError) {
      try SaveFileWalk.copy(count, of: input, to: &writer)
    } catch {
      throw .output(error)
    }
  }

  /// Zeros, to the output.
  mutating func writeZeros(_ count: UInt64) throws(SaveFileFailure) {
    let zeros = [UInt8](repeating: 0, count: SaveFileWalk.pieceBytes)
    var left = count
    while left > 0 {
      let piece = Int(min(left, UInt64(SaveFileWalk.pieceBytes)))
      do throws(SystemError) {
        try unsafe writer.write(zeros.span.bytes.extracting(0..<piece))
      } catch {
        throw .output(error)
      }
      left -= UInt64(piece)
    }
  }

  private static func copy(
    _ count: Int, of input: borrowing DiskInput, to writer: inout DoorWriter
  ) throws(SystemError) {
    try writer.write(input.bytes(count))
  }
}
