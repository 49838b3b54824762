import SaveDisk
import SystemIO

/// Whether a disk may be written with the header that is on it.
public enum EmptyDisk {
  public enum Finding: Sendable {
    /// A good header, and a log that has not been begun.
    case empty(DiskHeader.Parsed)
    /// A good header, and something behind it.
    case used
    case failed(DoorFailure)
  }

  /// Reads block 0 and block 1 of an allocated disk.
  public static func probe(_ disk: borrowing FileDescriptor) -> Finding {
    let blocks = 2 * Layout.blockBytes
    var buffer = AlignedBuffer(byteCount: blocks)
    var count = 0
    do throws(SystemError) {
      while count < blocks {
        var target = buffer.mutableBytes(0..<blocks)
        let fetched = try disk.read(into: &target, from: count, at: UInt64(count))
        if fetched == 0 { break }
        count += fetched
      }
    } catch {
      return .failed(.input(error))
    }
    do throws(DiskError) {
      let header = try DiskHeader.parse(buffer.bytes(0..<min(count, Layout.blockBytes)))
      let log = buffer.bytes(min(count, Layout.blockBytes)..<count)
      return log.isAllZero ? .empty(header) : .used
    } catch {
      return .failed(.disk(error))
    }
  }
}
