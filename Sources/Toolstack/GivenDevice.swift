import BlockProbe
import Foundation
import SaveDisk
import SystemIO
import Transfer

/// A block device that the user has named: opened past the page cache, exclusively, and only if
/// nobody would miss what is on it.
///
/// blkback goes past dom0's page cache, so dom0 does too. libblkid looks at it before a stubdomain
/// has had it, never after.
struct GivenDevice: ~Copyable {
  let descriptor: FileDescriptor
  let path: SystemPath
  let bytes: UInt64

  /// What has to be zero at both ends of a device that counts as unused. libblkid's known signs lie
  /// in there; other data most likely show there too.
  static let blankBytes: UInt64 = 1 << 20

  /// udevd locks a device for a moment after somebody has written to it.
  static let lockTimeoutMilliseconds: UInt64 = 1000

  /// Opens it, and keeps others out by O_EXCL and locks. Of those who have it open and use neither
  /// only guests are known, by xenstore.
  ///
  /// - Parameters:
  ///   - isAttached: a stubdomain has it, as its user has said.
  ///   - xenstore: where dom0's xenstored listens, if this is dom0.
  init(
    _ path: SystemPath, isAttached: Bool = false,
    xenstore: SystemPath = StubdomainPlace.usualXenstore
  ) throws(ToolError) {
    let device = try GivenDevice.open(path)
    let facts = try attempt(path) { () throws(SystemError) in try device.blockDevice() }
    if facts.isReadOnly {
      throw ToolError(.permission, path) { $0.append("the device is read-only") }
    }
    if facts.sectorBytes > UInt32(Layout.blockBytes) {
      throw ToolError(.unsupported, path) {
        $0.append("the device has sectors of ")
        $0.append(UInt64(facts.sectorBytes))
        $0.append(" bytes; 4096 is the most that a save disk can have")
      }
    }
    try DiskCommands.lock(
      device, path, timeoutMilliseconds: GivenDevice.lockTimeoutMilliseconds)
    if !isAttached { try GuestDevices.refuse(device, path, xenstore) }
    self.path = path
    bytes = facts.bytes
    descriptor = device
  }

  private static func open(_ path: SystemPath) throws(ToolError) -> FileDescriptor {
    do throws(SystemError) {
      return try FileDescriptor.open(path, .readWriteDirectExclusive)
    } catch {
      throw refusal(error, path)
    }
  }

  private static func refusal(_ error: SystemError, _ path: SystemPath) -> ToolError {
    guard error.errno == Errno.busy else { return ToolError(error, path) }
    let place = MountTable.place(ofDevice: path)
    return ToolError(.busy, path) {
      if let place {
        $0.append("is mounted at ")
        $0.append(escaping: place)
        $0.append("; unmount it first, --force does not help")
      } else {
        $0.append("is in use: another program has it exclusively, or it is part of a RAID, LVM ")
        $0.append("or device-mapper volume")
      }
    }
  }

  /// Refuses a device that holds something.
  ///
  /// - Parameter isForced: what libblkid finds is overwritten all the same.
  borrowing func requireUnused(isForced: Bool) throws(ToolError) {
    if isForced { return }
    // libblkid reads into memory as it comes, which O_DIRECT does not take.
    let buffered = try attempt(path) { () throws(SystemError) in
      let device = try FileDescriptor.open(path, .read)
      guard try device.status().majorMinor == descriptor.status().majorMinor else {
        throw SystemError(.open, errno: Errno.noSuchDevice)
      }
      return device
    }
    switch BlockProbe.look(at: buffered) {
    case .nothing: break
    case .holds(let what):
      throw ToolError(.wouldDestroy, path) {
        $0.append("holds ")
        $0.append(what)
        $0.append("; `stubsave allocate --force` overwrites it")
      }
    case .ambiguous:
      throw ToolError(.wouldDestroy, path) {
        $0.append("holds signs of several file systems or volumes; `wipefs -a` removes them")
      }
    case .failed:
      throw ToolError(.ioError, path) { $0.append("libblkid cannot read it") }
    }
    let isBlank = try attempt(path) { () throws(SystemError) in
      let last = (bytes - min(bytes, GivenDevice.blankBytes)) & ~UInt64(Layout.blockBytes - 1)
      guard try isZero(0..<min(bytes, GivenDevice.blankBytes)) else { return false }
      return try isZero(last..<bytes)
    }
    if !isBlank {
      throw ToolError(.wouldDestroy, path) {
        $0.append(
          "holds data that libblkid does not know; `stubsave allocate --force` overwrites them")
      }
    }
  }

  /// Whether a range that begins at a multiple of 4096 is zero.
  private borrowing func isZero(_ range: Range<UInt64>) throws(SystemError) -> Bool {
    var buffer = AlignedBuffer(byteCount: 65_536)
    var position = range.lowerBound
    while position < range.upperBound {
      var piece = buffer.mutableBytes(0..<65_536)
      let count = try descriptor.read(into: &piece, from: 0, at: position)
      if count == 0 { break }
      if !buffer.bytes(0..<count).isAllZero { return false }
      position += UInt64(count)
    }
    return true
  }

  /// Makes it a disk: zeros up to its capacity, then the header, flushed.
  ///
  /// - Parameter capacityBytes: at most what the device has.
  borrowing func allocate(
    _ options: HeaderOptions, capacityBytes: UInt64
  ) throws(ToolError) -> DiskHeader {
    try requireCapacity(capacityBytes)
    return try attempt(path) { () throws(SystemError) in
      let header = try options.header(capacityBytes: capacityBytes)
      try descriptor.zeroDevice(from: 0, bytes: capacityBytes)
      try descriptor.write(header)
      try descriptor.flush()
      return header
    }
  }

  borrowing func requireCapacity(_ capacityBytes: UInt64) throws(ToolError) {
    // 0 is a capacity too, of a disk that grows.
    if capacityBytes != 0 && DiskHeader.isCapacity(capacityBytes) && capacityBytes <= bytes {
      return
    }
    throw ToolError(.overLimit, path) {
      $0.append("the device has ")
      $0.append(bytes)
      $0.append(" bytes, a save disk here needs ")
      $0.append(max(capacityBytes, FormatLimits.minCapacityBytes))
    }
  }

  /// The whole device, in blocks.
  var wholeCapacityBytes: UInt64 { bytes & ~UInt64(Layout.blockBytes - 1) }
}

extension FileDescriptor {
  /// Writes block 0 of a disk. Not flushed.
  func write(_ header: DiskHeader) throws(SystemError) {
    var block = AlignedBuffer(byteCount: Layout.blockBytes)
    var bytes = block.mutableBytes(0..<Layout.blockBytes)
    header.encode(into: &bytes)
    try writeAll(block.bytes(0..<Layout.blockBytes), at: 0)
  }
}

/// What is mounted, as the kernel tells it (proc(5), /proc/self/mountinfo).
enum MountTable {
  /// Where a device is mounted, as the table writes it: spaces as \040.
  static func place(ofDevice path: SystemPath) -> [UInt8]? {
    guard let status = try? FileStatus.of(path),
      let table = try? String(contentsOfFile: "/proc/self/mountinfo", encoding: .utf8)
    else { return nil }
    let wanted = "\(status.majorMinor.major):\(status.majorMinor.minor)"
    for line in table.split(separator: "\n") {
      // ID, parent, major:minor, root, mount point, …
      let fields = line.split(separator: " ")
      if fields.count > 4 && fields[2] == wanted { return [UInt8](fields[4].utf8) }
    }
    return nil
  }
}
