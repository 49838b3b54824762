import SaveDisk
import SystemIO
import Xenstore

/// A domain as its user names it.
public enum DomainReference: Sendable {
  case domid(UInt32)
  case name([UInt8])
}

/// A stubdomain, and the guest whose QEMU it has.
public struct Stubdomain: Equatable, Sendable {
  public let domid: UInt32
  /// The guest.
  public let target: UInt32
}

/// What dom0's own nodes say of domains: none of the nodes that are read here can be written by
/// anybody else.
public enum XenDomains {
  /// All of them, dom0 too.
  public static func all(_ xenstore: inout XenstoreConnection) throws(XenError) -> [UInt32] {
    try onXenstore { () throws(XenstoreError) in
      try xenstore.directory(Node("/local/domain").path)
    }.compactMap(Decimal.number).sorted()
  }

  /// All stubdomains.
  public static func stubdomains(
    _ xenstore: inout XenstoreConnection
  ) throws(XenError) -> [Stubdomain] {
    var found: [Stubdomain] = []
    for domid in try all(&xenstore) {
      if let target = try number(&xenstore, Node.domain(domid)("target")) {
        found.append(Stubdomain(domid: domid, target: target))
      }
    }
    return found
  }

  /// The stubdomain that is meant: by its own domid or name, or by its guest's.
  public static func stubdomain(
    _ reference: DomainReference, _ xenstore: inout XenstoreConnection
  ) throws(XenError) -> Stubdomain {
    let domid: UInt32
    switch reference {
    case .domid(let number): domid = number
    case .name(let name):
      var domids: [UInt32] = []
      for domid in try all(&xenstore) where try self.name(of: domid, &xenstore) == name {
        domids.append(domid)
      }
      guard let only = domids.first else { throw .noDomain }
      if domids.count > 1 { throw .ambiguous(domids) }
      domid = only
    }
    guard try exists(domid, &xenstore) else { throw .noDomain }
    if let target = try number(&xenstore, Node.domain(domid)("target")) {
      return Stubdomain(domid: domid, target: target)
    }
    // libxl writes it (libxl_get_stubdom_id).
    guard let stubdomain = try number(&xenstore, Node.domain(domid)("image")("device-model-domid")),
      stubdomain != 0
    else { throw .noStubdomain }
    return Stubdomain(domid: stubdomain, target: domid)
  }

  /// Whether it is there and has not ended.
  public static func exists(
    _ domid: UInt32, _ xenstore: inout XenstoreConnection
  ) throws(XenError) -> Bool {
    try onXenstore { () throws(XenstoreError) in try xenstore.isIntroduced(domid: domid) }
  }

  /// Nil if it has none.
  public static func name(
    of domid: UInt32, _ xenstore: inout XenstoreConnection
  ) throws(XenError) -> [UInt8]? {
    try value(&xenstore, Node.domain(domid)("name"))
  }

  static func number(
    _ xenstore: inout XenstoreConnection, _ node: Node
  ) throws(XenError) -> UInt32? {
    try value(&xenstore, node).flatMap(Decimal.number)
  }

  /// Nil if there is no such node.
  static func value(
    _ xenstore: inout XenstoreConnection, _ node: Node
  ) throws(XenError) -> [UInt8]? {
    do throws(XenstoreError) {
      return try xenstore.read(node.path)
    } catch {
      if error == .notFound { return nil }
      throw .xenstore(error)
    }
  }
}
