import SaveDisk
import SystemIO

/// What has come from a channel, cut into lines of bounded length.
struct LineBuffer: ~Copyable {
  private var buffer: AlignedBuffer
  /// What of the buffer has come and has not been taken.
  private var window = 0..<0
  /// There is no newline before this offset of the buffer.
  private var searched = 0
  private let maxLineBytes: Int

  /// Bytes that are asked for at once at least.
  private static let roomBytes = 65_536

  init(maxLineBytes: Int) {
    self.maxLineBytes = maxLineBytes
    buffer = AlignedBuffer(byteCount: maxLineBytes + LineBuffer.roomBytes)
  }

  /// The next whole line without its end (LF, or CR LF); nil if none has come yet.
  mutating func next() throws(MonitorError) -> [UInt8]? {
    let newline = LineBuffer.newline(
      in: buffer, max(searched, window.lowerBound)..<window.upperBound)
    searched = newline ?? window.upperBound
    // Also of a line that has not ended: it never can.
    if searched - window.lowerBound > maxLineBytes { throw .lineTooLong }
    guard let newline else { return nil }
    let line = LineBuffer.line(in: buffer, window.lowerBound..<newline)
    window = (newline + 1)..<window.upperBound
    return line
  }

  private static func newline(in buffer: borrowing AlignedBuffer, _ range: Range<Int>) -> Int? {
    let bytes = buffer.bytes(range)
    for offset in 0..<bytes.byteCount where bytes.byte(at: offset) == 0x0A {
      return range.lowerBound + offset
    }
    return nil
  }

  private static func line(in buffer: borrowing AlignedBuffer, _ range: Range<Int>) -> [UInt8] {
    var line = buffer.array(range)
    if line.last == 0x0D { line.removeLast() }
    return line
  }

  /// Takes what the channel has now; nil if nothing, 0 at its end. To be called after `next` has
  /// given nil: then there is room.
  mutating func fill<Channel: ByteChannel & ~Copyable>(
    from channel: inout Channel
  ) throws(SystemError) -> Int? {
    if buffer.byteCount - window.upperBound < LineBuffer.roomBytes || window.isEmpty {
      buffer.moveToFront(window)
      searched -= window.lowerBound
      window = 0..<window.count
    }
    let start = window.upperBound
    let end = buffer.byteCount
    var target = buffer.mutableBytes(0..<end)
    let count = try channel.take(into: &target, from: start)
    window = window.lowerBound..<(window.upperBound + (count ?? 0))
    return count
  }
}
