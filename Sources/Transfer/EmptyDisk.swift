import SaveDisk
import SystemIO

/// Whether a disk may be written with the header that is on it.
public enum EmptyDisk {
  public enum Finding: Sendable {
    /// A good header, and a log that has not been begun.
    case empty(DiskHeader.Parsed)
    /// A good header, and something behind it.
    case used(DiskHeader.Parsed)
    /// A good header, but of a disk of `capacityBytes`, in a file or device of `foundBytes`: what
    /// is written there could not be read again.
    case otherSize(foundBytes: UInt64, capacityBytes: UInt64)
    case failed(DoorFailure)
  }

  /// Reads block 0 and block 1 of an allocated disk.
  public static func probe(_ disk: borrowing FileDescriptor) -> Finding {
    let blocks = 2 * Layout.blockBytes
    var buffer = AlignedBuffer(byteCount: blocks)
    var count = 0
    let status: FileStatus
    do throws(SystemError) {
      status = try disk.status()
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
      if !log.isAllZero { return .used(header) }
      guard isRightSize(status, header.header.capacityBytes) else {
        return .otherSize(
          foundBytes: status.bytes, capacityBytes: header.header.capacityBytes)
      }
      return .empty(header)
    } catch {
      return .failed(.disk(error))
    }
  }

  /// A file is as long as its capacity, or, if it grows, has the header alone; else what is
  /// behind the commit would count as bytes behind an archive (C13).
  private static func isRightSize(_ status: FileStatus, _ capacityBytes: UInt64) -> Bool {
    switch status.kind {
    case .blockDevice: capacityBytes != 0 && capacityBytes <= status.bytes
    default: status.bytes == (capacityBytes == 0 ? UInt64(Layout.blockBytes) : capacityBytes)
    }
  }
}

extension PlainText {
  /// Why a disk of another size is not written.
  public mutating func appendOtherSize(foundBytes: UInt64, capacityBytes: UInt64) {
    append("has ")
    append(foundBytes)
    append(" bytes, but its header was made for ")
    append(capacityBytes == 0 ? UInt64(Layout.blockBytes) : capacityBytes)
    append(": not the disk that was allocated")
  }
}
