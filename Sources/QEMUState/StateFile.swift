import Codecs
import SaveDisk
import SystemIO
import Transfer

/// What goes to the toolstack: QEMU's bytes, then a trailer by which they can be checked when they
/// come back (formats/save-disk.md, section 10).
public enum StateFile {
  /// The longest trailer that is looked at: metadata of other tools may be larger than ours.
  public static let maxTrailerBytes: UInt64 = 1 << 20
  /// More zeros at the end than any state may end in (`ZeroTail`) and belong to a trailer's hash. What is
  /// more need not be kept, for the same verdict.
  public static let keptZeroBytes: UInt64 = 1 << 17

  /// Appends the trailer to a file that holds the state and nothing else.
  ///
  /// - Parameters:
  ///   - target: its offset is at the end of the state.
  ///   - metadata: for the stream `metadata`; none if it is empty.
  ///   - header: for the metadata's archive; its capacity is made 0.
  public static func appendTrailer(
    to target: borrowing FileDescriptor, stateBytes: UInt64, stateDigest: Bytes16,
    metadata: [UInt8], header: DiskHeader
  ) throws(WriteError) {
    var footer = StateFooter(stateBytes: stateBytes, metadataBytes: 0, stateDigest: stateDigest)
    var hash = WordHashStream()
    do throws(SystemError) {
      if !metadata.isEmpty {
        let archive = try FileDescriptor.inMemory()
        footer.metadataBytes = try makeArchive(archive.number, metadata, header)
        try forEachPiece(archive, from: 0, bytes: footer.metadataBytes) { hash.update($0) }
        try archive.copy(bytes: footer.metadataBytes, to: target)
      }
      var buffer = AlignedBuffer(byteCount: StateFooter.byteCount)
      var bytes = buffer.mutableBytes(0..<StateFooter.byteCount)
      footer.encode(into: &bytes)
      hash.update(buffer.bytes(StateFooter.hashedBytes))
      footer.hash = hash.value()
      bytes = buffer.mutableBytes(0..<StateFooter.byteCount)
      footer.encode(into: &bytes)
      try target.writeAll(buffer.bytes(0..<StateFooter.byteCount))
    } catch {
      throw .store(error)
    }
  }

  /// - Returns: the archive's length in bytes.
  private static func makeArchive(
    _ number: Int32, _ metadata: [UInt8], _ header: DiskHeader
  ) throws(SystemError) -> UInt64 {
    var header = header
    header.capacityBytes = 0
    header.chunkBytes = FormatLimits.minChunkBytes
    var writer = DiskWriter(
      header: DiskHeader.Parsed(new: header), store: FileStore(FileDescriptor(borrowing: number)),
      setting: .auto, writesHeader: true)
    do throws(WriteError) {
      try writer.beginStream(.metadata)
      try unsafe writer.write(metadata.span.bytes)
      try writer.endStream()
      return try writer.commit().diskBytes
    } catch {
      if case .store(let error) = error { throw error }
      preconditionFailure("metadata of a few lines were refused")
    }
  }

  private static let pieceBytes = 262_144

  /// Reads a range of a file, piece by piece. A file that is shorter is an error (EIO).
  static func forEachPiece(
    _ file: borrowing FileDescriptor, from start: UInt64, bytes: UInt64,
    _ body: (RawSpan) -> Void
  ) throws(SystemError) {
    var buffer = AlignedBuffer(byteCount: pieceBytes)
    var done: UInt64 = 0
    while done < bytes {
      let count = Int(min(bytes - done, UInt64(pieceBytes)))
      try read(file, at: start + done, into: &buffer, count: count)
      body(buffer.bytes(0..<count))
      done += UInt64(count)
    }
  }

  /// Fills the first `count` bytes of the buffer.
  public static func read(
    _ file: borrowing FileDescriptor, at offset: UInt64, into buffer: inout AlignedBuffer,
    count: Int
  ) throws(SystemError) {
    var done = 0
    while done < count {
      var target = buffer.mutableBytes(0..<count)
      let fetched = try file.read(into: &target, from: done, at: offset + UInt64(done))
      if fetched == 0 { throw SystemError(.pread, errno: Errno.ioError) }
      done += fetched
    }
  }
}
