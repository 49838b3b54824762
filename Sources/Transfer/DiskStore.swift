import SaveDisk
import SystemIO

/// Where a writer puts a save disk. A seam for tests, which record what is written and flushed.
public protocol DiskStore: ~Copyable, SendableMetatype {
  /// Each byte of the disk is written once, in order.
  mutating func write(_ bytes: RawSpan, at offset: UInt64) throws(SystemError)
  /// Returns when all that was written is on stable storage.
  mutating func flush() throws(SystemError)
  /// Lets storing begin of what was written, so that the flush has less to wait for. No more than a
  /// hint: what fails is found by the flush.
  mutating func beginFlush(_ bytes: Int, at offset: UInt64)
}

extension DiskStore where Self: ~Copyable {
  public mutating func beginFlush(_ bytes: Int, at offset: UInt64) {}
}

/// Has the store, so that a thread that writes can have it without the writer. Whoever has the writer
/// leaves it alone meanwhile.
final class StoreKeeper<Store: DiskStore & ~Copyable>: @unchecked Sendable {
  var store: Store

  init(_ store: consuming Store) { self.store = store }
}

/// A file or a device.
public struct FileStore: DiskStore, ~Copyable {
  public let descriptor: FileDescriptor

  public init(_ descriptor: consuming FileDescriptor) { self.descriptor = descriptor }

  public mutating func write(_ bytes: RawSpan, at offset: UInt64) throws(SystemError) {
    try descriptor.writeAll(bytes, at: offset)
  }

  public mutating func flush() throws(SystemError) { try descriptor.flush() }

  public mutating func beginFlush(_ bytes: Int, at offset: UInt64) {
    descriptor.beginFlush(bytes, at: offset)
  }
}
