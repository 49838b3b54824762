import SaveDisk
import SystemIO

/// What a disk lies in, as far as the verdict rule asks.
public struct InputShape: Equatable, Sendable, BitwiseCopyable {
  public enum Kind: UInt32, Sendable, BitwiseCopyable {
    /// A regular file; an archive unless it is exactly as long as its capacity.
    case file = 1
    /// Never an archive.
    case blockDevice = 2
    /// A pipe or the like, whose length shows only at its end. Always an archive.
    case stream = 3
  }

  public let kind: Kind
  /// Where the disk begins in the file or device, in bytes; 0 for a stream.
  public let start: UInt64
  /// From there to the end, when it was looked at; nil for a stream. Bytes that come later do not
  /// count.
  public let totalBytes: UInt64?
  private var holeStart: UInt64 = 0
  private var holeEnd: UInt64 = 0

  /// From `start` on: a part of a file that is a hole, so zeros, and need not be read. Empty if none
  /// is known of.
  public var hole: Range<UInt64> { holeStart..<holeEnd }

  /// All of a file or device, wherever its offset stands.
  public init(of input: borrowing FileDescriptor) throws(SystemError) {
    try self.init(input, start: 0)
  }

  /// What is left of it from where it stands: of an open file that was handed over, which somebody
  /// may have read a part of. A pipe has no other way.
  public init(restOf input: borrowing FileDescriptor) throws(SystemError) {
    let kind = try input.status().kind
    // A closed standard input has its place taken by what has no offset.
    let isFile = kind == .regular || kind == .blockDevice
    try self.init(input, start: isFile ? try input.offset() : 0)
  }

  private init(_ input: borrowing FileDescriptor, start: UInt64) throws(SystemError) {
    let status = try input.status()
    let kind: Kind
    switch status.kind {
    case .regular: kind = .file
    case .blockDevice: kind = .blockDevice
    default:
      self.init(kind: .stream, start: 0, totalBytes: nil)
      return
    }
    // Behind the end there is nothing.
    let start = min(start, status.bytes)
    self.init(kind: kind, start: start, totalBytes: status.bytes - start)
  }

  /// A disk that is a part of a file.
  public init(partOfFileFrom start: UInt64, bytes: UInt64) {
    self.init(kind: .file, start: start, totalBytes: bytes)
  }

  /// The same, with a hole.
  public func with(hole: Range<UInt64>) -> InputShape {
    guard kind == .file, let totalBytes, hole.upperBound <= totalBytes, !hole.isEmpty else {
      return self
    }
    var shape = self
    shape.holeStart = hole.lowerBound
    shape.holeEnd = hole.upperBound
    return shape
  }

  private init(kind: Kind, start: UInt64, totalBytes: UInt64?) {
    self.kind = kind
    self.start = start
    self.totalBytes = totalBytes
  }

  /// As a message between programs has it (40 bytes): kind and 4 bytes of zero, start, length, start
  /// and end of the hole.
  public init(parsing cursor: inout ByteCursor) throws(MessageError) {
    guard let kind = Kind(rawValue: cursor.littleEndianUInt32()) else { throw MessageError() }
    guard cursor.littleEndianUInt32() == 0 else { throw MessageError() }
    let start = cursor.littleEndianUInt64()
    let bytes = cursor.littleEndianUInt64()
    let (end, overflow) = start.addingReportingOverflow(bytes)
    guard !overflow && end <= UInt64(Int64.max) else { throw MessageError() }
    guard kind != .stream || (start == 0 && bytes == 0) else { throw MessageError() }
    self.init(kind: kind, start: start, totalBytes: kind == .stream ? nil : bytes)
    let holeStart = cursor.littleEndianUInt64()
    let holeEnd = cursor.littleEndianUInt64()
    if holeStart == 0 && holeEnd == 0 { return }
    guard kind == .file && holeStart < holeEnd && holeEnd <= bytes else { throw MessageError() }
    self.holeStart = holeStart
    self.holeEnd = holeEnd
  }

  public func encode(into bytes: inout [UInt8]) {
    bytes.append(littleEndian: kind.rawValue)
    bytes.append(littleEndian: UInt32(0))
    bytes.append(littleEndian: start)
    bytes.append(littleEndian: totalBytes ?? 0)
    bytes.append(littleEndian: hole.lowerBound)
    bytes.append(littleEndian: hole.upperBound)
  }
}
