import Codecs
import QEMUState
import SaveDisk
import SystemIO
import Transfer

/// A state that has crossed a disk: verified, and private to this process.
struct CarriedState: ~Copyable {
  /// The disk as it was fetched, once; a good save disk of `diskBytes`.
  let disk: FileDescriptor
  /// The stream `qemu`.
  let state: Spool.Extracted
  /// The stream `metadata`; empty if there is none.
  let metadata: [UInt8]

  var diskBytes: UInt64 { state.verdict.facts.diskBytes }
  /// XXH3-128 of the state.
  var digest: Bytes16 { state.verdict.facts.summary(of: .qemu)?.digest ?? .zero }
}

/// How a state crosses.
struct CarryOptions {
  var request: TransferDisk.Request
  var setting = CodecSetting.auto
  /// Of the state.
  var maxStateBytes = ReaderLimits.defaultStateBytes

  /// For all streams together.
  var limits: ReaderLimits { ReaderLimits.forState(maxBytes: maxStateBytes) }
}

extension TransferDisk {
  /// Carries a state over a disk: one side fills it, the other takes a copy and verifies that.
  ///
  /// A disk of our own that turns out to be too small is made once more, as large as is needed.
  ///
  /// - Parameters:
  ///   - first: a disk that has been made for `options`.
  ///   - state: a regular file; read from its start.
  static func carry(
    _ state: borrowing FileDescriptor, metadata: [UInt8], over first: consuming TransferDisk,
    _ options: CarryOptions
  ) throws(ToolError) -> CarriedState {
    var disk = first
    do throws(FillError) {
      try disk.fill(state, metadata, options)
    } catch {
      guard case .write(.diskTooSmall(_, let needed)) = error, disk.canGrow,
        needed <= options.limits.maxDiskBytes
      else { throw ToolError(error, disk.path) }
      var request = options.request
      request.neededBytes = needed
      // The first goes before the second comes: a given device is the same one.
      _ = consume disk
      disk = try make(request)
      do throws(FillError) {
        try disk.fill(state, metadata, options)
      } catch {
        throw ToolError(error, disk.path)
      }
    }
    let carried = try disk.fetch(options)
    try disk.wipe()
    return carried
  }

  /// The stubdomain's side of a save, dom0's side of a restore.
  private borrowing func fill(
    _ state: borrowing FileDescriptor, _ metadata: [UInt8], _ options: CarryOptions
  ) throws(FillError) {
    do throws(SystemError) {
      try state.rewind()
    } catch {
      throw .write(.source(error))
    }
    _ = try DiskFilling.fill(
      device, from: state, metadata: metadata, setting: options.setting,
      maxStateBytes: options.limits.maxStateBytes)
  }

  /// The other side: a private copy of the disk, and what it holds.
  private borrowing func fetch(_ options: CarryOptions) throws(ToolError) -> CarriedState {
    var reading = ReadOptions()
    reading.limits = options.limits
    reading.acceptedCodecs = header.allowedCodecs
    // Only to learn how long it is; what counts is the judgement on the copy.
    reading.isDecoding = false
    let glance = Door.open(source, task: .verify, options: reading, output: .nowhere)
    if let failure = glance.failure { throw ToolError(failure, path) }
    reading.isDecoding = true
    let directory = options.request.spoolDirectory
    let bytes = glance.facts.diskBytes
    let copy = try attempt(directory) { () throws(SystemError) in
      let copy = try Spool.file(bytes: bytes, in: directory)
      try source.copy(bytes: bytes, to: copy)
      return copy
    }
    let extracted = try Spool.extract(.qemu, from: copy, path, reading, in: directory)
    let verdict = extracted.verdict
    guard verdict.facts.header?.header == header else {
      throw ToolError(.corrupt, path) { $0.append("the header is no longer the one allocated") }
    }
    let metadata = try Spool.metadata(verdict, from: copy, path, reading, in: directory)
    return CarriedState(disk: copy, state: extracted, metadata: metadata)
  }
}

extension ReaderLimits {
  /// Most bytes of a disk that these limits admit.
  var maxDiskBytes: UInt64 { UInt64(2 * Layout.blockBytes) + maxLogBytes }
}

extension ToolError {
  init(_ error: FillError, _ path: SystemPath) {
    self.init(ExitStatus(error), path) { text in
      text.append(error)
      switch error {
      case .write(.diskTooSmall(_, let needed)):
        text.append("; `stubsave allocate --size ")
        text.append(needed)
        text.append("` makes one that is large enough")
      case .write(.overMaxRawBytes): text.append("; --max-state raises the limit")
      default: break
      }
    }
  }
}
