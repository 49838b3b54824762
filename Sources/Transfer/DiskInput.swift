import SaveDisk
import SystemIO

/// Reads a save disk forward, each byte at most once, into memory that nobody else can reach.
///
/// Somebody may still be writing the disk: what has been fetched is looked at here and nowhere
/// else, and is not fetched again (formats/save-disk.md, section 7, "Fetch once").
public struct DiskInput: ~Copyable {
  public let shape: InputShape
  var kind: InputShape.Kind { shape.kind }
  /// Length when it was opened, in bytes; nil for a stream.
  var totalBytes: UInt64? { shape.totalBytes }

  private let descriptor: Int32
  private var buffer = AlignedBuffer(byteCount: DiskInput.initialWindowBytes)
  /// What of the buffer has been fetched and not been consumed.
  private var window = 0..<0
  /// Offset in the input of the next byte to be fetched.
  private var fetchOffset: UInt64 = 0
  /// Nothing from here on is given out. Some of it may have been fetched in passing, with the
  /// header, before the capacity was known.
  private var end: UInt64
  private var isAtEnd = false
  /// So much is fetched at once at least, wanted or not; nil for as much as there is room for.
  private var aheadBytes: Int?

  /// Header, and the whole of most device states when stored.
  private static let initialWindowBytes = 65_536

  /// Behind what is passed over in a file: a record's header, and a few more that come at once.
  private static let leastExactBytes = 256

  /// Most that can be fetched at once before `expectRecords`: the window, but for what keeps reads
  /// aligned.
  public static let maxFetchBytes = initialWindowBytes - Layout.blockBytes

  /// - Parameter shape: nil if it is to be found out.
  public init(_ input: borrowing FileDescriptor, _ shape: InputShape?) throws(SystemError) {
    let found = if let shape { shape } else { try InputShape(of: input) }
    self.shape = found
    end = found.totalBytes ?? .max
    descriptor = input.number
  }

  /// Adapts the window to a disk whose header has been read: room for any record of it.
  mutating func expectRecords(of header: DiskHeader) {
    // Of a pipe it is not known whether it is as long as that; if it is not, it ends before.
    if header.capacityBytes != 0 { end = min(end, header.capacityBytes) }
    // One record, one block of slack that keeps reads aligned, and the commit's last block.
    let wanted = Layout.recordBytes(storedBytes: Int(header.chunkBytes)) + 2 * Layout.blockBytes
    guard wanted > buffer.byteCount else { return }
    var larger = AlignedBuffer(byteCount: Layout.aligned(wanted, to: Layout.blockBytes))
    let start = window.lowerBound % Layout.blockBytes
    var target = larger.mutableBytes(0..<larger.byteCount)
    target.put(buffer.bytes(window), at: start)
    buffer = larger
    window = start..<(start + window.count)
  }

  /// Fetches until `count` bytes are in the window or the input has ended.
  ///
  /// - Parameter count: at most a record of the disk and a block.
  /// - Returns: `count`, or less at the end.
  public mutating func fetch(_ count: Int) throws(SystemError) -> Int {
    while window.count < count && !isAtEnd { try fetchMore(count) }
    let position = fetchOffset - UInt64(window.count)
    return min(window.count, count, Int(clamping: end - min(end, position)))
  }

  private mutating func fetchMore(_ count: Int) throws(SystemError) {
    // A byte lies in the buffer as it lies in its block: so O_DIRECT gets aligned memory.
    if window.isEmpty || buffer.byteCount - window.lowerBound < count {
      let start = window.lowerBound % Layout.blockBytes
      buffer.move(window, to: start)
      window = start..<(start + window.count)
    }
    let start = window.upperBound
    let room = UInt64(buffer.byteCount - start)
    let offset = fetchOffset
    let left = offset < end ? min(end - offset, room, ahead(of: count)) : 0
    if left == 0 {
      isAtEnd = true
      return
    }
    let input = FileDescriptor(borrowing: descriptor)
    let isStream = kind == .stream
    let place = shape.start + offset
    var target = buffer.mutableBytes(0..<(start + Int(left)))
    let fetched =
      isStream
      ? try input.read(into: &target, from: start)
      : try input.read(into: &target, from: start, at: place)
    if fetched == 0 { isAtEnd = true }
    // What is read on, is read in larger and larger pieces.
    if let bytes = aheadBytes {
      aheadBytes = bytes < DiskInput.initialWindowBytes ? 2 * bytes : nil
    }
    window = window.lowerBound..<(start + fetched)
    fetchOffset += UInt64(fetched)
  }

  /// What is passed over may be read by the byte, not in whole blocks as O_DIRECT has it.
  private var isExact: Bool { kind == .file }

  /// How much to fetch so that `count` bytes are there; up to the end of a block, but of a file.
  private func ahead(of count: Int) -> UInt64 {
    guard let aheadBytes else { return .max }
    let more = UInt64(max(count - window.count, aheadBytes))
    if isExact { return more }
    let wanted = fetchOffset + more
    let block = UInt64(Layout.blockBytes)
    return (wanted + block - 1) / block * block - fetchOffset
  }

  /// The first `count` fetched bytes.
  @_lifetime(borrow self)
  public borrowing func bytes(_ count: Int) -> RawSpan {
    precondition(count <= window.count)
    return buffer.bytes(window.lowerBound..<(window.lowerBound + count))
  }

  /// Leaves the first `count` fetched bytes behind.
  public mutating func consume(_ count: Int) {
    precondition(count <= window.count)
    window = (window.lowerBound + count)..<window.upperBound
  }

  /// Leaves the next `count` bytes behind, fetched or not; of a file or device what has not been
  /// fetched never is.
  ///
  /// - Returns: `count`, or less at the end.
  public mutating func skip(_ count: UInt64) throws(SystemError) -> UInt64 {
    var done = min(count, UInt64(window.count), end - min(end, fetchOffset - UInt64(window.count)))
    consume(Int(done))
    if window.isEmpty && kind != .stream {
      var target = fetchOffset + min(count - done, end - min(end, fetchOffset))
      // Whole blocks, so that reads stay aligned for O_DIRECT.
      if !isExact { target = target / UInt64(Layout.blockBytes) * UInt64(Layout.blockBytes) }
      if target > fetchOffset {
        done += target - fetchOffset
        fetchOffset = target
        window = 0..<0
        aheadBytes = isExact ? DiskInput.leastExactBytes : Layout.blockBytes
      }
    }
    while done < count {
      let piece = try fetch(Int(min(count - done, UInt64(DiskInput.maxFetchBytes))))
      if piece == 0 { break }
      consume(piece)
      done += UInt64(piece)
    }
    return done
  }

  /// What the input has at `diskEnd`, if it is an archive and goes on there. The `count` bytes before
  /// it are fetched and not yet consumed.
  mutating func trailingBytes(
    after count: Int, diskEnd: UInt64, capacityBytes: UInt64
  ) throws(SystemError) -> TrailingBytes? {
    switch kind {
    case .blockDevice: return nil
    case .file:
      guard let totalBytes, totalBytes != capacityBytes, totalBytes > diskEnd else { return nil }
      return TrailingBytes(count: totalBytes - diskEnd, isWhole: shape.start == 0)
    case .stream:
      end = .max
      isAtEnd = false
      return try fetch(count + 1) > count ? TrailingBytes(count: 0, isWhole: true) : nil
    }
  }
}
