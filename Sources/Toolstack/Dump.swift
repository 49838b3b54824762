import Codecs
import QEMUMonitor
import QEMUState
import SaveDisk
import SystemIO
import Transfer

/// What a state is handed on as.
public enum StateFormat: Sendable {
  /// QEMU's bytes and a trailer by which they can be checked.
  case state
  /// QEMU's bytes alone.
  case raw
  /// The save disk, cut after its commit.
  case archive
}

public struct DumpOptions: Sendable {
  public var transfer: TransferSettings
  /// "-" is standard output.
  public var output: SystemPath
  public var format = StateFormat.state
  /// An existing output file is replaced.
  public var isForced = false
  /// A running guest is stopped for the dump, and goes on as soon as its state is taken.
  public var pauses = false
  /// A guest that was stopped stays so if all goes well.
  public var keepsPaused = false

  public init(_ transfer: TransferSettings, output: SystemPath) {
    self.transfer = transfer
    self.output = output
  }
}

public struct DumpReport: Sendable {
  public let stateBytes: UInt64
  /// Length of the save disk over which it came.
  public let diskBytes: UInt64
  /// XXH3-128 of the state.
  public let digest: Bytes16
  /// What wrote it, in lines.
  public let metadata: [UInt8]
}

/// `dump`: a QEMU on this machine, its state over a save disk, to a file.
public enum Dump {
  public static func run(_ options: DumpOptions) throws(ToolError) -> DumpReport {
    // What can be refused without touching the guest is refused first.
    var output = try Output(options.output, isForced: options.isForced, opensNow: true)
    var signals: EndingSignals? = try attempt(options.transfer.socket) { () throws(SystemError) in
      try EndingSignals()
    }
    let held = EndingSignals.number(of: signals)
    var taken = try take(options, held)
    // From here on nothing has to be put right, unless the guest is to stay stopped.
    if !taken.session.isStopped { signals = nil }
    do throws(ToolError) {
      try deliver(
        taken.carried, options, to: &output, heeding: taken.session.isStopped ? held : nil)
    } catch {
      throw taken.session.resume(after: error)
    }
    if taken.session.isStopped {
      // A signal that comes now is too late: who waits for the guest's end must see success.
      taken.session.keepStopped()
      signals.take()?.settle()
    }
    return DumpReport(
      stateBytes: taken.carried.state.bytes, diskBytes: taken.carried.diskBytes,
      digest: taken.carried.digest, metadata: taken.carried.metadata)
  }

  private struct Taken: ~Copyable {
    var session: QEMUSession
    let carried: CarriedState
  }

  /// The state, from QEMU over the disk; the disk is gone, and what was on a given one too.
  private static func take(_ options: DumpOptions, _ held: Int32?) throws(ToolError) -> Taken {
    let maxStateBytes = options.transfer.maxStateBytes
    let carrying = options.transfer.carrying(.save)
    let disk = try TransferDisk.make(carrying.request)
    let sink = try attempt(options.transfer.socket) { () throws(SystemError) in
      try BoundedFile.bestEffort(maxBytes: maxStateBytes)
    }
    var session = try options.transfer.session(heeding: held)
    do throws(ToolError) {
      try session.quiesce(isAllowed: options.pauses)
      let metadata = try session.metadata()
      try session.save(into: sink, maxBytes: maxStateBytes)
      if !options.keepsPaused { try session.resume() }
      let carried = try TransferDisk.carry(
        sink.reader, metadata: metadata, over: disk, carrying)
      return Taken(session: session, carried: carried)
    } catch {
      throw session.resume(after: error)
    }
  }

  /// Hands a verified state on.
  ///
  /// - Parameter signals: once a signal has come in there, nothing more is written; nil if signals
  ///   end the process by themselves.
  private static func deliver(
    _ carried: borrowing CarriedState, _ options: DumpOptions, to output: inout Output,
    heeding signals: Int32?
  ) throws(ToolError) {
    let path = options.output
    // Everything is there before the first byte goes out, in one file: what is written in place
    // cannot be taken back, and a state that lost its trailer would look like a bare one.
    if options.format == .state { try appendTrailer(to: carried, options) }
    let target = try output.descriptor()
    try attempt(path) { () throws(SystemError) in
      switch options.format {
      case .archive:
        try carried.disk.copy(bytes: carried.diskBytes, to: target, heeding: signals)
      case .raw, .state:
        let file = try carried.state.file()
        try file.copy(bytes: try file.status().bytes, to: target, heeding: signals)
      }
    }
    try output.publish(heeding: signals)
  }

  /// Behind the state, in the file that is private to this process.
  private static func appendTrailer(
    to carried: borrowing CarriedState, _ options: DumpOptions
  ) throws(ToolError) {
    let path = options.output
    let header = try attempt(path) { () throws(SystemError) in
      try options.transfer.carrying(.save).request.options.header(capacityBytes: 0)
    }
    let file = try attempt(path) { () throws(SystemError) in
      let file = try carried.state.file()
      try file.seek(to: carried.state.bytes)
      return file
    }
    do throws(WriteError) {
      try StateFile.appendTrailer(
        to: file, stateBytes: carried.state.bytes, stateDigest: carried.digest,
        metadata: carried.metadata, header: header)
    } catch {
      throw ToolError(ExitStatus(error), path) { $0.append(error) }
    }
  }
}
