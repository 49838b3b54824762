import SaveDisk
import SystemIO
import Xenstore

/// A stubdomain's consoles, as libxl has written them before it starts the QEMU in dom0 that serves them
/// (libxl_console.c, libxl__device_console_add).
public enum ConsoleNodes {
  /// What was changed.
  public struct Repairs: Equatable, Sendable {
    /// Consoles that lead to nothing now; before, that QEMU would have made nothing of them.
    public var withoutOutput: [UInt32] = []
    /// The first console, the log, is told to that QEMU as connected.
    public var connectsLog = false

    public var isEmpty: Bool { withoutOutput.isEmpty && !connectsLog }
  }

  /// Whether the QEMU that serves them is there, or has been.
  public static func isQEMUStarted(
    _ domid: UInt32, _ xenstore: inout XenstoreConnection
  ) throws(XenError) -> Bool {
    try XenDomains.value(&xenstore, DomainWatch.consoleNode(domid)) != nil
  }

  /// Has a QEMU with the new code serve them (`ConsoleQEMU.newCode`). To be called before that is
  /// started.
  public static func repair(
    _ domid: UInt32, _ xenstore: inout XenstoreConnection
  ) throws(XenError) -> Repairs {
    var repairs = Repairs()
    try onXenstore { () throws(XenstoreError) in
      try xenstore.change { xenstore, transaction throws(XenstoreError) in
        repairs = Repairs()
        var changes: [XenstoreChange] = []
        // Read-only for the stubdomain, as what libxl has written there: what stands in `output` is a file.
        let permissions = [
          XenstorePermission(.none, domid: 0), XenstorePermission(.read, domid: domid),
        ]
        func write(_ node: Node, _ value: StaticString) {
          changes += [
            .write(node.path, [UInt8](SystemPath(word: value).bytes)),
            .setPermissions(node.path, permissions),
          ]
        }
        let log = Node.domain(domid)("console")
        if try isQEMUs(log, &xenstore, transaction),
          try value(log("state"), &xenstore, transaction) == nil
        {
          // A front end that is connected: QEMU then connects, and says so of its own side
          // (xen_console_frontend_changed). A stubdomain's kernel looks at no such node of this console.
          write(log("state"), "4")
          repairs.connectsLog = true
        }
        let others = Node.domain(domid)("device")("console")
        for number in try numbers(others, &xenstore, transaction) {
          let console = others(number)
          guard try isQEMUs(console, &xenstore, transaction),
            try value(console("output"), &xenstore, transaction) == nil
          else { continue }
          write(console("output"), "null")
          repairs.withoutOutput.append(number)
        }
        return changes
      }
    }
    return repairs
  }

  /// What a process has to know that serves the log.
  public struct Log: Sendable {
    public let port: UInt32
    /// The file that libxl means.
    public let file: SystemPath
  }

  /// Nil if it is no QEMU's and was none, or does not go into a file.
  public static func log(
    _ domid: UInt32, _ xenstore: inout XenstoreConnection
  ) throws(XenError) -> Log? {
    let node = Node.domain(domid)("console")
    let prefix = [UInt8]("file:".utf8)
    let type = try XenDomains.value(&xenstore, node("type"))
    guard type == [UInt8]("ioemu".utf8) || type == ours,
      let port = try XenDomains.number(&xenstore, node("port")),
      let output = try XenDomains.value(&xenstore, node("output")), output.starts(with: prefix),
      output.count > prefix.count,
      let file = SystemPath(bytes: [UInt8](output.dropFirst(prefix.count)))
    else { return nil }
    return Log(port: port, file: file)
  }

  /// What QEMU and xenconsoled find there are words of their own, or else let it alone.
  private static let ours = [UInt8]("stubsave".utf8)

  /// Takes the log away from QEMU, which has not been started.
  public static func takeLog(
    _ domid: UInt32, _ xenstore: inout XenstoreConnection
  ) throws(XenError) {
    try onXenstore { () throws(XenstoreError) in
      try xenstore.write(Node.domain(domid)("console")("type").path, ours)
    }
  }

  /// Whether that has been done.
  public static func isLogTaken(
    _ domid: UInt32, _ xenstore: inout XenstoreConnection
  ) throws(XenError) -> Bool {
    try XenDomains.value(&xenstore, Node.domain(domid)("console")("type")) == ours
  }

  private static func isQEMUs(
    _ console: Node, _ xenstore: inout XenstoreConnection, _ transaction: UInt32
  ) throws(XenstoreError) -> Bool {
    try value(console("type"), &xenstore, transaction) == [UInt8]("ioemu".utf8)
  }

  private static func numbers(
    _ node: Node, _ xenstore: inout XenstoreConnection, _ transaction: UInt32
  ) throws(XenstoreError) -> [UInt32] {
    do throws(XenstoreError) {
      return try xenstore.directory(node.path, in: transaction).compactMap(Decimal.number).sorted()
    } catch {
      if error == .notFound { return [] }
      throw error
    }
  }

  private static func value(
    _ node: Node, _ xenstore: inout XenstoreConnection, _ transaction: UInt32
  ) throws(XenstoreError) -> [UInt8]? {
    do throws(XenstoreError) {
      return try xenstore.read(node.path, in: transaction)
    } catch {
      if error == .notFound { return nil }
      throw error
    }
  }
}
