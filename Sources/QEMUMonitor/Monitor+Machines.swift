import SaveDisk
import SystemIO

/// A machine's type that a QEMU knows.
public struct KnownMachine: Sendable {
  public let name: [UInt8]
  /// Empty if it has none.
  public let alias: [UInt8]

  public init(name: [UInt8], alias: [UInt8]) {
    self.name = name
    self.alias = alias
  }
}

extension Monitor {
  /// The types that it can be started with.
  public mutating func machines() throws(MonitorError) -> [KnownMachine] {
    let reply = try execute("query-machines")
    let document = reply.document
    guard document.kind(reply.result) == .array else { throw .notQMP("machines that are no list") }
    var found: [KnownMachine] = []
    var index = reply.result + 1
    while index < document.tokens[reply.result].end {
      guard let member = document.member("name", of: index), let name = document.string(member)
      else { throw .notQMP("a machine without a name") }
      let alias = document.member("alias", of: index).flatMap { document.string($0) } ?? []
      found.append(KnownMachine(name: name, alias: alias))
      index = document.tokens[index].end
    }
    return found
  }
}
