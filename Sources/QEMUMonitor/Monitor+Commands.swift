import SaveDisk
import SystemIO

/// What `query-status` says of the virtual machine.
public struct RunState: Sendable {
  /// Its vCPUs run. Under Xen they are not QEMU's, and this says nothing of them.
  public let isRunning: Bool
  /// QEMU waits for a state (`-incoming`).
  public let isIncoming: Bool
  /// QEMU's word for it, such as "paused".
  public let status: PlainText
}

extension Monitor {
  public mutating func runState() throws(MonitorError) -> RunState {
    let reply = try execute("query-status")
    guard let running = reply.document.member("running", of: reply.result),
      let isRunning = reply.document.boolean(running),
      let member = reply.document.member("status", of: reply.result),
      let status = reply.document.string(member)
    else { throw .notQMP("a status without its members") }
    var text = PlainText()
    text.append(escaping: status, maxBytes: 32)
    return RunState(
      isRunning: isRunning, isIncoming: reply.document.string(member, is: "inmigrate"),
      status: text)
  }

  /// The machine's type as QEMU's object model has it, such as "pc-i440fx-7.2-machine".
  public mutating func machineType() throws(MonitorError) -> PlainText {
    var arguments = PlainText()
    arguments.append("{\"path\":\"/machine\",\"property\":\"type\"}")
    let reply = try execute("qom-get", arguments: arguments)
    guard let type = reply.document.string(reply.result) else {
      throw .notQMP("a machine type that is no string")
    }
    var text = PlainText()
    text.append(escaping: type, maxBytes: 128)
    return text
  }

  /// Stops the vCPUs. Not under Xen, where the toolstack pauses the domain.
  public mutating func stop() throws(MonitorError) { _ = try execute("stop") }

  /// Lets the vCPUs go on.
  public mutating func cont() throws(MonitorError) { _ = try execute("cont") }

  /// Gives QEMU a file to write to.
  ///
  /// - Parameter descriptor: a regular file or memfd, opened exactly O_WRONLY, at offset 0.
  /// - Returns: the number of a new set of file descriptors with this one in it: the file is
  ///   `/dev/fdset/NUMBER`.
  public mutating func addDescriptor(_ descriptor: Int32) throws(MonitorError) -> UInt64 {
    let reply = try execute("add-fd", passing: descriptor)
    guard let member = reply.document.member("fdset-id", of: reply.result),
      let set = reply.document.unsigned(member)
    else { throw .notQMP("add-fd gave no fdset-id") }
    return set
  }

  /// The same into a set of a number that others know; makes it if need be.
  public mutating func addDescriptor(
    _ descriptor: Int32, toSet set: UInt64
  ) throws(MonitorError) {
    _ = try execute("add-fd", arguments: Monitor.arguments(set: set), passing: descriptor)
  }

  /// Takes a set back. QEMU closes its descriptors when it no longer uses them; 7.2 does so only
  /// while its guest runs.
  public mutating func removeDescriptors(set: UInt64) throws(MonitorError) {
    _ = try execute("remove-fd", arguments: Monitor.arguments(set: set))
  }

  private static func arguments(set: UInt64) -> PlainText {
    var arguments = PlainText()
    arguments.append("{\"fdset-id\":")
    arguments.append(set)
    arguments.append("}")
    return arguments
  }

  /// Has the state of all devices written to `/dev/fdset/NUMBER`, without RAM and disks.
  ///
  /// With `live` false: true would leave the disks inactive, and a second save of a stopped
  /// machine would abort QEMU (measured with 7.2).
  public mutating func saveDeviceState(toSet set: UInt64) throws(MonitorError) {
    try saveDeviceState(to: SystemPath(word: "/dev/fdset/", number: set))
  }

  /// The same to a file, FIFO or device that QEMU can open; truncated first, never flushed.
  public mutating func saveDeviceState(to path: SystemPath) throws(MonitorError) {
    var arguments = PlainText()
    arguments.append("{\"filename\":")
    arguments.append(jsonString: path.bytes)
    arguments.append(",\"live\":false}")
    _ = try execute("xen-save-devices-state", arguments: arguments)
  }

  /// Whether QEMU lists anything for which it cannot be saved.
  public mutating func saveBlockers() throws(MonitorError) -> SaveBlockers {
    let reply = try execute("query-migrate")
    guard let blockers = SaveBlockers(reply.document, reply.result) else {
      throw .notQMP("query-migrate gave no list of what blocks it")
    }
    return blockers
  }

  /// Ends QEMU.
  public mutating func quit() throws(MonitorError) { _ = try execute("quit") }
}

extension PlainText {
  /// A JSON string of bytes that are UTF-8.
  mutating func append(jsonString bytes: some Sequence<UInt8>) {
    append("\"")
    for byte in bytes {
      if byte < 0x20 || byte == UInt8(ascii: "\"") || byte == UInt8(ascii: "\\") {
        append("\\u00")
        append(hexByte: byte)
      } else {
        append(byte: byte)
      }
    }
    append("\"")
  }
}
