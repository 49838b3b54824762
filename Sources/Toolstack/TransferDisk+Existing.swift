import SaveDisk
import SystemIO
import Transfer

extension TransferDisk {
  /// Any save disk that the user has named, for a stubdomain; dom0 writes nothing to it.
  static func existing(
    _ path: SystemPath, for place: StubdomainPlace
  ) throws(ToolError) -> TransferDisk {
    var request = Request(path: path, spoolDirectory: SystemPath(word: "/"))
    request.place = .stubdomain
    request.maxSumBytes = place.maxSumBytes
    request.xenstore = place.xenstore
    switch try DiskCommands.existing(path) {
    case .blockDevice?:
      let given = try GivenDevice(path, xenstore: request.xenstore)
      let header = try anyHeader(on: given.descriptor, path)
      var disk = try onDevice(given, header, wipes: false, request)
      disk.wipesDevice = false
      return disk
    case .regular?:
      let file = try DiskCommands.openFile(path)
      let header = try anyHeader(on: file, path)
      let bytes = try attempt(path) { () throws(SystemError) in try file.status().bytes }
      return try behindLoopDevice(file, header, bytes, isOwn: false, request)
    case nil: throw ToolError(.notFound, path) { $0.append("does not exist") }
    default:
      throw ToolError(.unsupported, path) { $0.append("neither a plain file nor a block device") }
    }
  }

  private static func anyHeader(
    on disk: borrowing FileDescriptor, _ path: SystemPath
  ) throws(ToolError) -> DiskHeader {
    switch EmptyDisk.probe(disk) {
    case .empty(let parsed), .used(let parsed): return parsed.header
    case .otherSize(let found, let capacity):
      throw ToolError(.incomplete, path) {
        $0.appendOtherSize(foundBytes: found, capacityBytes: capacity)
      }
    case .failed(let failure): throw ToolError(failure, path)
    }
  }

  /// It stays what it is when this command ends, until `detach`.
  consuming func keepAttached() {
    wipesDevice = false
    if let claim = claim.take() { claim.keep() }
  }
}
