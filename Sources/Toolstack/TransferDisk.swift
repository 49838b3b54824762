import SaveDisk
import SystemIO
import Transfer

/// A disk for one transfer on this machine: allocated, empty, both sides open.
///
/// The project's own disks are a file in memory behind a loop device that the kernel takes away
/// with the last descriptor: whatever happens, nothing is left of them.
struct TransferDisk: ~Copyable {
  /// For messages.
  let path: SystemPath
  let header: DiskHeader
  /// What the stubdomain's side writes to or reads from.
  let device: FileDescriptor
  /// dom0's own way to the bytes.
  private let kept: FileDescriptor?
  /// Holds the locks on what the user has named.
  private let given: GivenDevice?
  /// So much of a given device is made zeros at the end: nothing of a guest stays on it.
  private var wipesDevice: Bool

  /// How a disk is to be made.
  struct Request {
    /// A device or allocated file that the user has named; nil for a disk of our own.
    var path: SystemPath?
    var options = HeaderOptions()
    /// Of a disk of our own, or on an unused device.
    var capacityBytes = DiskCommands.defaultCapacityBytes
    /// No less will do; else a smaller device will.
    var isNeeded = false
    /// For a disk of our own that is too large for memory.
    var spoolDirectory: SystemPath
  }

  static func make(_ request: Request) throws(ToolError) -> TransferDisk {
    guard let path = request.path else { return try own(request) }
    switch try DiskCommands.existing(path) {
    case .blockDevice?: return try onDevice(path, request)
    case .regular?: return try inFile(path, request)
    case nil:
      throw ToolError(.notFound, path) {
        $0.append("does not exist; `stubsave allocate` makes a disk")
      }
    default:
      throw ToolError(.unsupported, path) { $0.append("neither a plain file nor a block device") }
    }
  }

  private static func own(_ request: Request) throws(ToolError) -> TransferDisk {
    do throws(SystemError) {
      let backing = try Spool.file(bytes: request.capacityBytes, in: request.spoolDirectory)
      try backing.truncate(to: request.capacityBytes)
      let header = try request.options.header(capacityBytes: request.capacityBytes)
      try backing.write(header)
      try backing.flush()
      let loop = try LoopDevice(backing: backing)
      let device = try FileDescriptor.open(loop.path, .readWrite)
      return TransferDisk(
        path: loop.path, header: header, device: device, kept: backing, given: nil,
        wipesDevice: false)
    } catch {
      throw ToolError(ExitStatus(error), nil) {
        $0.append("cannot make a disk behind a loop device: ")
        $0.append(error)
        $0.append("; run as root, or name a disk with --disk")
      }
    }
  }

  /// A device that has been allocated is used as it is and left as it becomes; an unused one is
  /// allocated here, and wiped at the end.
  private static func onDevice(
    _ path: SystemPath, _ request: Request
  ) throws(ToolError) -> TransferDisk {
    let given = try GivenDevice(path)
    let number = given.descriptor.number
    switch EmptyDisk.probe(given.descriptor) {
    case .empty(let parsed):
      try requireDirection(parsed.header, request, path)
      return TransferDisk(
        path: path, header: parsed.header, device: FileDescriptor(borrowing: number), kept: nil,
        given: given, wipesDevice: false)
    case .used: throw used(path)
    case .otherSize(let found, let capacity):
      throw ToolError(.wouldDestroy, path) {
        $0.appendOtherSize(foundBytes: found, capacityBytes: capacity)
      }
    case .failed(.disk):
      try given.requireUnused(isForced: false)
      let capacity =
        request.isNeeded
        ? request.capacityBytes : min(request.capacityBytes, given.wholeCapacityBytes)
      let header = try given.allocate(request.options, capacityBytes: capacity)
      return TransferDisk(
        path: path, header: header, device: FileDescriptor(borrowing: number), kept: nil,
        given: given, wipesDevice: true)
    case .failed(let failure): throw ToolError(failure, path)
    }
  }

  private static func inFile(
    _ path: SystemPath, _ request: Request
  ) throws(ToolError) -> TransferDisk {
    let file = try DiskCommands.openFile(path)
    switch EmptyDisk.probe(file) {
    case .empty(let parsed):
      try requireDirection(parsed.header, request, path)
      return TransferDisk(
        path: path, header: parsed.header, device: file, kept: nil, given: nil,
        wipesDevice: false)
    case .used: throw used(path)
    case .otherSize(let found, let capacity):
      throw ToolError(.wouldDestroy, path) {
        $0.appendOtherSize(foundBytes: found, capacityBytes: capacity)
      }
    case .failed(.disk(let error)):
      throw ToolError(.wouldDestroy, path) {
        $0.append("is no empty save disk (")
        error.describe(into: &$0)
        $0.append("); `stubsave allocate` makes one")
      }
    case .failed(let failure): throw ToolError(failure, path)
    }
  }

  private static func used(_ path: SystemPath) -> ToolError {
    ToolError(.wouldDestroy, path) {
      $0.append("is a save disk that holds a log already; `stubsave allocate --force` empties it")
    }
  }

  private static func requireDirection(
    _ header: DiskHeader, _ request: Request, _ path: SystemPath
  ) throws(ToolError) {
    if header.direction == request.options.direction { return }
    throw ToolError(.wouldDestroy, path) {
      $0.append("was allocated for the other direction; see `allocate --direction`")
    }
  }

  /// dom0's descriptor: of a disk of our own the memory behind it, so that nothing that is done to
  /// the device is between; of a device, past the page cache.
  var source: FileDescriptor {
    switch kept {
    case .some(let descriptor): FileDescriptor(borrowing: descriptor.number)
    case .none: FileDescriptor(borrowing: device.number)
    }
  }

  /// Whether another disk can be made in its place that is larger.
  var canGrow: Bool {
    switch kept {
    case .some: true
    case .none: wipesDevice
    }
  }

  /// Makes a given device zeros again that was so before.
  mutating func wipe() throws(ToolError) {
    guard wipesDevice else { return }
    wipesDevice = false
    let (number, bytes) = (device.number, header.capacityBytes)
    try attempt(path) { () throws(SystemError) in
      let descriptor = FileDescriptor(borrowing: number)
      try descriptor.zeroDevice(from: 0, bytes: bytes)
      try descriptor.flush()
    }
  }

  deinit {
    // After a failure, which is what will be told.
    if wipesDevice {
      try? device.zeroDevice(from: 0, bytes: header.capacityBytes)
      try? device.flush()
    }
  }
}
