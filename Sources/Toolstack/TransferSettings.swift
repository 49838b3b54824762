import Codecs
import SaveDisk
import SystemIO

/// What `dump` and `restore` are told alike.
public struct TransferSettings: Sendable {
  /// QEMU's monitor.
  public var socket: SystemPath
  /// A device or allocated file to go over; nil is a disk of our own.
  public var disk: SystemPath?
  /// For what does not fit into memory.
  public var spoolDirectory: SystemPath
  public var setting = CodecSetting.auto
  /// For a header of our own; direction and limit are set here.
  public var header = HeaderOptions()
  public var maxStateBytes = ReaderLimits.defaultStateBytes
  /// For everything that QEMU does.
  public var timeoutMilliseconds: UInt64 = 60_000

  public init(socket: SystemPath, spoolDirectory: SystemPath) {
    self.socket = socket
    self.spoolDirectory = spoolDirectory
  }

  func carrying(_ direction: Direction) -> CarryOptions {
    var request = TransferDisk.Request(path: disk, spoolDirectory: spoolDirectory)
    request.options = header
    request.options.direction = direction
    var options = CarryOptions(request: request, setting: setting, maxStateBytes: maxStateBytes)
    options.request.options.maxRawBytes = options.limits.maxStateBytes
    return options
  }

  /// Connects to QEMU; the time that it has begins.
  func session(heeding signals: Int32?) throws(ToolError) -> QEMUSession {
    try QEMUSession(
      socket, deadline: Deadline(timeoutMilliseconds: timeoutMilliseconds), signals: signals)
  }
}
