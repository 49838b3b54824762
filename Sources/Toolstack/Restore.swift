import Codecs
import QEMUMonitor
import QEMUState
import SaveDisk
import SystemIO
import Transfer

public struct RestoreOptions: Sendable {
  /// Of a QEMU that was started with `-incoming defer`.
  public var transfer: TransferSettings
  /// "-" is standard input.
  public var input: SystemPath
  /// A state without a trailer is refused.
  public var requiresTrailer = false

  public init(_ transfer: TransferSettings, input: SystemPath) {
    self.transfer = transfer
    self.input = input
  }
}

public struct RestoreReport: Sendable {
  public let format: StateFormat
  public let stateBytes: UInt64
  public let diskBytes: UInt64
  /// XXH3-128 of the state.
  public let digest: Bytes16
  /// What wrote it, in lines; empty if the input does not say.
  public let metadata: [UInt8]
  /// What a user should know though it went well; without the path.
  public let warnings: [PlainText]
}

/// `restore`: a state file, its state over a save disk, into a QEMU on this machine.
public enum Restore {
  public static func run(_ options: RestoreOptions) throws(ToolError) -> RestoreReport {
    let given = try GivenState.open(options)
    // Held until the disk is gone, so that nothing of the guest stays on a given one.
    let signals = try attempt(options.transfer.socket) { () throws(SystemError) in
      try EndingSignals()
    }
    return try restore(given, options, signals.number)
  }

  private static func restore(
    _ given: borrowing GivenState, _ options: RestoreOptions, _ signals: Int32
  ) throws(ToolError) -> RestoreReport {
    let carrying = options.transfer.carrying(.restore)
    let disk = try TransferDisk.make(carrying.request)
    var session = try options.transfer.session(heeding: signals)
    try session.requireIncoming()
    var warnings = given.warnings
    let metadata = try session.metadata()
    if !given.metadata.isEmpty && given.metadata != metadata {
      warnings.append(difference(saved: given.metadata, here: metadata))
    }
    let carried = try TransferDisk.carry(
      given.file, metadata: given.metadata, over: disk, carrying)
    let state = try attempt(options.input) { () throws(SystemError) in try carried.state.file() }
    try session.load(state)
    return RestoreReport(
      format: given.format, stateBytes: carried.state.bytes, diskBytes: carried.diskBytes,
      digest: carried.digest, metadata: given.metadata, warnings: warnings)
  }

  private static func difference(saved: [UInt8], here: [UInt8]) -> PlainText {
    func line(_ bytes: [UInt8]) -> [UInt8] {
      bytes.split(separator: UInt8(ascii: "\n")).joined(separator: ", ".utf8).map { $0 }
    }
    var text = PlainText()
    text.append("the state was saved by another QEMU or machine: ")
    text.append(escaping: line(saved), maxBytes: 512)
    text.append("; this one is ")
    text.append(escaping: line(here), maxBytes: 512)
    return text
  }
}
