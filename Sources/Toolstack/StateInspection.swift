import QEMUState
import SaveDisk
import SystemIO
import Transfer

/// A state file as `inspect` shows it.
public struct StateInspection: Sendable {
  public let path: SystemPath
  public let stateBytes: UInt64
  /// Of the state; nil without a good trailer.
  public let digest: Bytes16?
  public let metadata: [UInt8]
  /// Zeros behind a good trailer.
  public let paddingBytes: UInt64
  /// What is wrong with the trailer; nil if it is good or there is none.
  public let failure: DiskError?
  /// What it is, by its first bytes.
  public let head: StateHead
  /// By the look of the bytes: for people only.
  public let sections: [StateSection]

  public var hasTrailer: Bool { digest != nil || failure != nil }
}

extension DiskCommands {
  private static func kind(of path: SystemPath) throws(ToolError) -> FileStatus.Kind? {
    guard let number = path.descriptor(hyphen: 0) else { return try existing(path) }
    let input = try inherited(number, path)
    return try attempt(path) { () throws(SystemError) in try input.status().kind }
  }

  /// Whether a path is a plain file with a device state of QEMU, with or without a trailer.
  public static func isStateFile(_ path: SystemPath) -> Bool {
    guard (try? kind(of: path)) == .regular, let input = try? openInput(path),
      let shape = try? InputShape(restOf: input)
    else { return false }
    return (try? input.beginsWithQEMUMagic(from: shape.start)) == true
  }

  /// `inspect` of a state file.
  ///
  /// - Parameter options: a file that is longer than their limits is refused.
  public static func inspectState(
    _ path: SystemPath, options: ReadOptions, spoolDirectory: SystemPath
  ) throws(ToolError) -> StateInspection {
    let copy = try GivenState.privateCopy(
      of: try DiskCommands.openInput(path), path, options.limits, spoolDirectory)
    var stateBytes = copy.bytes + copy.paddingBytes
    var digest: Bytes16?
    var metadata: [UInt8] = []
    var paddingBytes: UInt64 = 0
    var failure: DiskError?
    let (finding, head, sections) = try DecoderProcess.look(
      at: copy.file, path, bytes: copy.bytes, options: options, listsSections: true)
    switch finding {
    case .good(let facts):
      stateBytes = facts.stateBytes
      digest = facts.stateDigest
      metadata = facts.metadata
      paddingBytes = facts.paddingBytes + copy.paddingBytes
    case .none: break
    case .failed(let error): failure = error
    case .unreadable(let error): throw ToolError(error, path)
    }
    return StateInspection(
      path: path, stateBytes: stateBytes, digest: digest, metadata: metadata,
      paddingBytes: paddingBytes, failure: failure, head: head,
      sections: sections)
  }
}
