import SaveDisk
import SystemIO
import Transfer

/// A file in memory with given bytes.
public struct MemoryFile: ~Copyable {
  public let descriptor: FileDescriptor

  public init(_ bytes: [UInt8] = []) throws {
    let file = try FileDescriptor.inMemory()
    try file.writeAll(bytes.rawSpan, at: 0)
    descriptor = file
  }

  public borrowing func write(_ bytes: [UInt8], at offset: Int) throws {
    try descriptor.writeAll(bytes.rawSpan, at: UInt64(offset))
  }

  /// All bytes of the file.
  public borrowing func contents() throws -> [UInt8] {
    let count = Int(try descriptor.status().bytes)
    var buffer = AlignedBuffer(byteCount: max(count, 1))
    var done = 0
    while done < count {
      var target = buffer.mutableBytes(0..<count)
      done += try descriptor.read(into: &target, from: done, at: UInt64(done))
    }
    return buffer.bytes(0..<count).array
  }
}

extension RawSpan {
  public var array: [UInt8] { (0..<byteCount).map { byte(at: $0) } }
}

extension Array where Element == UInt8 {
  /// The array's bytes. Safe: any bytes are bytes.
  public var rawSpan: RawSpan {
    @_lifetime(borrow self)
    get { unsafe span.bytes }
  }
}
