import SystemIO
import Xenstore

/// What a proxy that is being started says of itself: `running`, or why it does not.
public struct ProxyStart: ~Copyable {
  private var xenstore: XenstoreConnection
  private let path: SystemPath

  private static let requestMilliseconds: UInt64 = 10_000

  /// What one has said before it is forgotten.
  ///
  /// - Parameter socket: of dom0's xenstored.
  public init(_ stubdomain: UInt32, _ socket: SystemPath) throws(XenError) {
    let path = QMPChannel.stateNode(stubdomain)
    self.path = path
    xenstore = try onXenstore { () throws(XenstoreError) in
      var connection = try XenstoreConnection.open(
        socket, deadline: Deadline(timeoutMilliseconds: Self.requestMilliseconds))
      try connection.write(path, [])
      try connection.watch(path, token: 1)
      return connection
    }
  }

  /// To be waited for: readable when something may have been said.
  public var number: Int32 { xenstore.number }

  /// What has been said; nil if nothing has. Does not wait for it.
  public mutating func words() throws(XenError) -> [UInt8]? {
    xenstore.deadline = Deadline(timeoutMilliseconds: Self.requestMilliseconds)
    while true {
      // Also what has come with the last reply: the descriptor does not tell of it any more.
      let events = try onXenstore { () throws(XenstoreError) in try xenstore.takeEvents() }
      if events.isEmpty { break }
    }
    let words = try onXenstore { () throws(XenstoreError) in try xenstore.read(path) }
    return words.isEmpty ? nil : words
  }
}
