import SaveDisk
import SystemIO
import Xenstore

/// What somebody who stands by a stubdomain has to hear of it: its end, and the QEMU in dom0 that
/// serves its consoles.
public struct DomainWatch: ~Copyable {
  private var xenstore: XenstoreConnection
  private let domid: UInt32

  private static let endToken: UInt32 = 1
  private static let consoleToken: UInt32 = 2
  private static let requestMilliseconds: UInt64 = 10_000

  /// - Parameter socket: of dom0's xenstored.
  public init(domid: UInt32, _ socket: SystemPath) throws(XenError) {
    self.domid = domid
    xenstore = try onXenstore { () throws(XenstoreError) in
      var connection = try XenstoreConnection.open(
        socket, deadline: Deadline(timeoutMilliseconds: Self.requestMilliseconds))
      try connection.watch(SystemPath(word: "@releaseDomain"), token: Self.endToken)
      try connection.watch(Self.consoleNode(domid).path, token: Self.consoleToken)
      return connection
    }
  }

  /// libxl writes it: the process that has the back ends of the stubdomain's consoles
  /// (libxl_dm.c, libxl__spawn_local_dm).
  static func consoleNode(_ domid: UInt32) -> Node {
    Node.domain(domid)("image")("device-model-pid")
  }

  /// To be waited for: readable when something may have changed.
  public var number: Int32 { xenstore.number }

  /// Writes a node of dom0's own.
  public static func say(
    _ text: PlainText, at path: SystemPath, _ socket: SystemPath
  ) throws(XenError) {
    try onXenstore { () throws(XenstoreError) in
      var xenstore = try XenstoreConnection.open(
        socket, deadline: Deadline(timeoutMilliseconds: requestMilliseconds))
      try xenstore.write(path, text.bytes)
    }
  }

  public struct News: Sendable {
    /// The domain is there no more.
    public var isGone = false
    /// The process that serves its consoles, if that has changed.
    public var consoleProcess: UInt32?
  }

  /// What has changed since. Does not wait for a change.
  public mutating func take() throws(XenError) -> News {
    xenstore.deadline = Deadline(timeoutMilliseconds: Self.requestMilliseconds)
    var news = News()
    while true {
      // Also what has come with the last reply: the descriptor does not tell of it any more.
      let tokens = try onXenstore { () throws(XenstoreError) in try xenstore.takeEvents() }
      if tokens.isEmpty { return news }
      if tokens.contains(Self.endToken) {
        news.isGone = try !XenDomains.exists(domid, &xenstore)
      }
      if tokens.contains(Self.consoleToken) {
        news.consoleProcess = try XenDomains.number(&xenstore, Self.consoleNode(domid))
      }
    }
  }
}
