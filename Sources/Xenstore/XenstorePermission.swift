/// What one domain may do with a node.
public struct XenstorePermission: Equatable, Sendable {
  public enum Access: UInt8, Sendable {
    case none = 0x6E
    case read = 0x72
    case write = 0x77
    case readWrite = 0x62
  }

  public let access: Access
  public let domid: UInt32

  public init(_ access: Access, domid: UInt32) {
    self.access = access
    self.domid = domid
  }

  /// "n0" and a NUL.
  var encoded: [UInt8] {
    [access.rawValue] + XenstoreConnection.decimal(UInt64(domid)) + [0]
  }
}
