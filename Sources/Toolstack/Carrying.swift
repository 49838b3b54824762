import Codecs
import QEMUState
import SaveDisk
import SystemIO
import Transfer

/// A state that has crossed a disk: verified, and private to this process.
struct CarriedState: ~Copyable {
  /// The disk as it was fetched, once; a good save disk of `diskBytes`.
  let disk: FileDescriptor
  /// The stream `qemu`; nothing if nothing was to be decoded.
  let state: Spool.Extracted

  /// The stream `metadata`; empty if there is none, or nothing was to be decoded.
  var metadata: [UInt8] { state.metadata }
  var diskBytes: UInt64 { state.verdict.facts.diskBytes }
  /// Of the state.
  var stateBytes: UInt64 { state.verdict.facts.summary(of: .qemu)?.rawBytes ?? 0 }
  /// XXH3-128 of the state; if nothing was decoded, as the disk states it.
  var digest: Bytes16 { state.verdict.facts.summary(of: .qemu)?.digest ?? .zero }
}

/// How a state crosses.
struct CarryOptions {
  var request: TransferDisk.Request
  var setting = CodecSetting.auto
  /// Of the state.
  var maxStateBytes = ReaderLimits.defaultStateBytes
  /// False: the disk is handed on as it is, judged by structure and stored hashes; no decompressor
  /// is run.
  var isDecoding = true

  /// For all streams together.
  var limits: ReaderLimits { ReaderLimits.forState(maxBytes: maxStateBytes) }
}

extension TransferDisk {
  /// A disk with a state on it, for a stubdomain to read.
  ///
  /// A disk of our own that turns out to be too small is made once more, as large as is needed.
  ///
  /// - Parameter state: a regular file; read from its start.
  static func make(
    holding state: borrowing FileDescriptor, metadata: [UInt8], _ options: CarryOptions
  ) throws(ToolError) -> TransferDisk {
    var disk = try make(options.request)
    do throws(FillError) {
      try disk.fill(state, metadata, options)
    } catch {
      guard case .write(.diskTooSmall(_, let needed)) = error, disk.canGrow,
        needed <= options.limits.maxDiskBytes
      else { throw ToolError(error, disk.path) }
      try disk.grow(to: needed, options.request)
      do throws(FillError) {
        try disk.fill(state, metadata, options)
      } catch {
        throw ToolError(error, disk.path)
      }
    }
    return disk
  }

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
      maxStateBytes: options.limits.maxStateBytes, workers: WriteOptions.usualWorkers)
  }

  private borrowing func reading(_ options: CarryOptions) -> ReadOptions {
    var reading = ReadOptions()
    reading.limits = options.limits
    reading.acceptedCodecs = header.allowedCodecs
    return reading
  }

  /// What is on it, by a look that decodes nothing.
  borrowing func facts(_ options: CarryOptions) throws(ToolError) -> DiskFacts {
    var reading = reading(options)
    reading.isDecoding = false
    let verdict = DecoderProcess.open(source, task: .verify, options: reading, output: .nowhere)
    if let failure = verdict.failure { throw ToolError(failure, path) }
    return verdict.facts
  }

  /// A private copy of what a stubdomain has written, and what it holds.
  ///
  /// - Parameter saidBytes: how long the disk is by the other side's word, which is only good for
  ///   how much is copied, within dom0's own limits: the copy has to be a whole disk by itself.
  borrowing func fetch(
    _ options: CarryOptions, saidBytes: UInt64
  ) throws(ToolError) -> CarriedState {
    let reading = reading(options)
    let directory = options.request.spoolDirectory
    let there = try attempt(path) { () throws(SystemError) in try source.status().bytes }
    let block = UInt64(Layout.blockBytes)
    let bytes = min(saidBytes, there, options.limits.maxDiskBytes) / block * block
    let copy = try attempt(directory) { () throws(SystemError) in
      let copy = try Spool.file(bytes: bytes, in: directory)
      try source.copy(bytes: bytes, to: copy)
      return copy
    }
    let extracted =
      options.isDecoding
      ? try Spool.carry(from: copy, path, reading, in: directory)
      : try judge(copy, reading)
    let verdict = extracted.verdict
    guard verdict.facts.header?.header == header else {
      throw ToolError(.corrupt, path) { $0.append("the header is no longer the one allocated") }
    }
    return CarriedState(disk: copy, state: extracted)
  }

  /// That there is a state on a copy, without a look into it.
  private borrowing func judge(
    _ copy: borrowing FileDescriptor, _ reading: ReadOptions
  ) throws(ToolError) -> Spool.Extracted {
    var reading = reading
    reading.isDecoding = false
    let verdict = DecoderProcess.open(copy, task: .verify, options: reading, output: .nowhere)
    if let failure = verdict.failure { throw ToolError(failure, path) }
    if verdict.facts.summary(of: .qemu) == nil { throw ToolError(.noSuchStream, path) }
    return Spool.Extracted(.nowhere, verdict)
  }
}

extension PlainText {
  /// What to do about a disk that is too small.
  mutating func append(allocateWith neededBytes: UInt64) {
    append("; `stubsave allocate --size ")
    append(neededBytes)
    append("` makes one that is large enough")
  }
}

extension ToolError {
  init(_ error: FillError, _ path: SystemPath) {
    self.init(ExitStatus(error), path) { text in
      text.append(error)
      switch error {
      case .write(.diskTooSmall(_, let needed)):
        text.append(allocateWith: needed)
      case .write(.overMaxRawBytes): text.append("; --max-state raises the limit")
      default: break
      }
    }
  }
}
