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
  private(set) var header: DiskHeader
  /// What the stubdomain's side writes to or reads from.
  let device: FileDescriptor
  /// dom0's own way to the bytes.
  let kept: FileDescriptor?
  /// Holds the locks on what the user has named.
  let given: GivenDevice?
  /// Says so to others, of a disk that goes to a stubdomain.
  var claim: DiskClaim?
  /// Behind a loop device of our own.
  let isOwn: Bool
  /// So much of a given device is made zeros at the end: nothing of a guest stays on it.
  var wipesDevice: Bool

  /// How a disk is to be made.
  struct Request {
    /// A device or allocated file that the user has named; nil for a disk of our own.
    var path: SystemPath?
    var options = HeaderOptions()
    /// Where the other side is.
    var place = Place.process
    /// Of all disks of this machine together.
    var maxSumBytes = DiskClaim.defaultMaxSumBytes
    /// Where dom0's xenstored listens, if this is dom0.
    var xenstore = StubdomainPlace.usualXenstore
    /// Of a disk of our own, or on an unused device; nil is what suits most states.
    var neededBytes: UInt64?
    /// For a disk of our own that is too large for memory.
    var spoolDirectory: SystemPath
  }

  enum Place {
    /// A process here, which opens the disk or inherits it.
    case process
    /// A stubdomain, to which it is going to be attached.
    case stubdomain
    /// A stubdomain, to which somebody else has attached it: allocated, and not to be had for us
    /// alone.
    case attachedStubdomain
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
    let bytes = request.neededBytes ?? DiskCommands.defaultCapacityBytes
    let header = try onLoopDevice { () throws(SystemError) in
      try request.options.header(capacityBytes: bytes)
    }
    let backing = try onLoopDevice { () throws(SystemError) in
      let backing = try Spool.file(bytes: bytes, in: request.spoolDirectory)
      try backing.truncate(to: bytes)
      try backing.write(header)
      try backing.flush()
      return backing
    }
    return try behindLoopDevice(backing, header, bytes, isOwn: true, request)
  }

  /// A device that has been allocated is used as it is and left as it becomes; an unused one is
  /// allocated here, and wiped at the end.
  private static func onDevice(
    _ path: SystemPath, _ request: Request
  ) throws(ToolError) -> TransferDisk {
    let isAttached = request.place == .attachedStubdomain
    let given = try GivenDevice(path, isAttached: isAttached, xenstore: request.xenstore)
    let (allocated, _) = try allocatedHeader(on: given.descriptor, path, request)
    if let allocated {
      return try onDevice(given, allocated, wipes: false, request)
    }
    if isAttached {
      throw ToolError(.wouldDestroy, path) {
        $0.append("is no empty save disk; `stubsave allocate` makes one, before it is attached")
      }
    }
    try given.requireUnused(isForced: false)
    let capacity =
      request.neededBytes
      ?? min(DiskCommands.defaultCapacityBytes, given.wholeCapacityBytes)
    let header = try given.allocate(request.options, capacityBytes: capacity)
    return try onDevice(given, header, wipes: true, request)
  }

  /// - Parameter wipes: in any case of a disk that a stubdomain gets: what it leaves there nobody is
  ///   to look into.
  static func onDevice(
    _ given: consuming GivenDevice, _ header: DiskHeader, wipes: Bool, _ request: Request
  ) throws(ToolError) -> TransferDisk {
    let path = given.path
    var claim: DiskClaim?
    if request.place == .stubdomain {
      let status = try attempt(path) { () throws(SystemError) in try given.descriptor.status() }
      let turn = try DiskTurn.take()
      claim = try DiskClaim.make(
        status, bytes: header.capacityBytes, maxSumBytes: request.maxSumBytes, turn)
      turn.end()
    }
    return TransferDisk(
      path: path, header: header, device: FileDescriptor(borrowing: given.descriptor.number),
      kept: nil, given: given, claim: claim, isOwn: false,
      wipesDevice: wipes || request.place == .stubdomain)
  }

  private static func inFile(
    _ path: SystemPath, _ request: Request
  ) throws(ToolError) -> TransferDisk {
    let file =
      request.place == .attachedStubdomain
      ? try DiskCommands.openAttachedFile(path) : try DiskCommands.openFile(path)
    let (allocated, reason) = try allocatedHeader(on: file, path, request)
    guard let allocated else {
      throw ToolError(.wouldDestroy, path) {
        $0.append("is no empty save disk (")
        reason?.describe(into: &$0)
        $0.append("); `stubsave allocate` makes one")
      }
    }
    if request.place == .stubdomain {
      return try behindLoopDevice(file, allocated, allocated.capacityBytes, isOwn: false, request)
    }
    return TransferDisk(
      path: path, header: allocated, device: file, kept: nil, given: nil, claim: nil, isOwn: false,
      wipesDevice: false)
  }

  /// The header of a disk that has been allocated for this direction and is still empty; nil, and
  /// why, if there is no save disk.
  private static func allocatedHeader(
    on disk: borrowing FileDescriptor, _ path: SystemPath, _ request: Request
  ) throws(ToolError) -> (DiskHeader?, DiskError?) {
    switch EmptyDisk.probe(disk) {
    case .empty(let parsed):
      if parsed.header.direction == request.options.direction { return (parsed.header, nil) }
      throw ToolError(.wouldDestroy, path) {
        $0.append("was allocated for the other direction; see `allocate --direction`")
      }
    case .used(_):
      throw ToolError(.wouldDestroy, path) {
        $0.append("is a save disk that holds a log already; ")
        $0.append("`stubsave allocate --force` empties it")
      }
    case .otherSize(let found, let capacity):
      throw ToolError(.wouldDestroy, path) {
        $0.appendOtherSize(foundBytes: found, capacityBytes: capacity)
      }
    case .failed(.disk(let error)): return (nil, error)
    case .failed(let failure): throw ToolError(failure, path)
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

  /// A loop device of our own, which the other side opens by its name, as it would in a stubdomain.
  var isOpenedByName: Bool { isOwn }

  /// The device that a stubdomain gets.
  func majorMinor() throws(ToolError) -> (major: UInt32, minor: UInt32) {
    try attempt(path) { () throws(SystemError) in try device.status().majorMinor }
  }

  /// Names the claim in the nodes of a disk that goes to a stubdomain.
  var claimID: UInt64? {
    switch claim {
    case .some(let claim): claim.id
    case .none: nil
    }
  }

  /// Of a disk that goes to a stubdomain: how many there have been before it.
  var ordinal: UInt64 {
    switch claim {
    case .some(let claim): claim.ordinal
    case .none: 0
    }
  }

  /// A loop device, which the kernel takes away with its last user.
  var isLoopDevice: Bool {
    switch kept {
    case .some: true
    case .none: false
    }
  }

  /// Whether a larger disk can be made in its place.
  var canGrow: Bool { isOwn || wipesDevice }

  /// Makes it anew, empty and with so many bytes; a given device stays the one that it is.
  mutating func grow(to neededBytes: UInt64, _ request: Request) throws(ToolError) {
    precondition(canGrow)
    if let again = try reallocate(neededBytes, request.options) {
      header = again
    } else {
      var larger = request
      larger.neededBytes = neededBytes
      self = try TransferDisk.own(larger)
    }
  }

  /// Nil if it is no given device.
  private borrowing func reallocate(
    _ bytes: UInt64, _ options: HeaderOptions
  ) throws(ToolError) -> DiskHeader? {
    switch given {
    case .some(let given): try given.allocate(options, capacityBytes: bytes)
    case .none: nil
    }
  }

  /// Makes a given device zeros again that was so before.
  mutating func wipe() throws(ToolError) {
    guard wipesDevice else { return }
    wipesDevice = false
    let (number, bytes) = (device.number, header.capacityBytes)
    try attempt(path) { () throws(SystemError) in
      try TransferDisk.zero(FileDescriptor(borrowing: number), bytes: bytes)
    }
  }

  deinit {
    // After a failure, which is what will be told.
    if wipesDevice { try? TransferDisk.zero(device, bytes: header.capacityBytes) }
  }

  /// What the header says that it has, and what has to be zero of a device that counts as unused: a
  /// stubdomain has the whole of it, and may have put a sign for dom0's tools at its end.
  private static func zero(
    _ device: borrowing FileDescriptor, bytes: UInt64
  ) throws(SystemError) {
    let all = try device.status().bytes
    let first = min(max(bytes, GivenDevice.blankBytes), all)
    try device.zeroDevice(from: 0, bytes: first)
    let last = max(first, (all - min(all, GivenDevice.blankBytes)) & ~UInt64(Layout.blockBytes - 1))
    if last < all { try device.zeroDevice(from: last, bytes: all - last) }
    try device.flush()
  }
}
