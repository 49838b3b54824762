import SaveDisk
import SystemIO

/// Where a writer puts a save disk. A seam for tests, which record what is written and flushed.
public protocol DiskStore: ~Copyable {
  /// Each byte of the disk is written once, in order.
  mutating func write(_ bytes: RawSpan, at offset: UInt64) throws(SystemError)
  /// Returns when all that was written is on stable storage.
  mutating func flush() throws(SystemError)
}

/// A file or a device.
public struct FileStore: DiskStore, ~Copyable {
  public let descriptor: FileDescriptor

  public init(_ descriptor: consuming FileDescriptor) { self.descriptor = descriptor }

  public mutating func write(_ bytes: RawSpan, at offset: UInt64) throws(SystemError) {
    try descriptor.writeAll(bytes, at: offset)
  }

  public mutating func flush() throws(SystemError) { try descriptor.flush() }
}
