import SystemIO

/// What is to be done to a node.
public enum XenstoreChange: Sendable {
  /// Does nothing if the node is there already.
  case makeDirectory(SystemPath)
  case setPermissions(SystemPath, [XenstorePermission])
  case write(SystemPath, [UInt8])
  /// With everything below it; does nothing if it is not there.
  case remove(SystemPath)

  fileprivate var kind: UInt32 {
    switch self {
    case .makeDirectory: XenstoreWire.Kind.makeDirectory
    case .setPermissions: XenstoreWire.Kind.setPermissions
    case .write: XenstoreWire.Kind.write
    case .remove: XenstoreWire.Kind.remove
    }
  }

  fileprivate var payload: [UInt8] {
    switch self {
    case .makeDirectory(let node), .remove(let node): XenstoreConnection.terminated(node)
    case .write(let node, let value): XenstoreConnection.terminated(node) + value
    case .setPermissions(let node, let permissions):
      XenstoreConnection.terminated(node) + permissions.flatMap { $0.encoded }
    }
  }

  fileprivate func tolerates(_ error: XenstoreError) -> Bool {
    if case .remove = self { return error == .notFound }
    return false
  }
}

extension XenstoreConnection {
  /// Somebody else's changes may get in between so often.
  private static let maxAttempts = 100

  /// Makes changes in one transaction: all of them, or none.
  ///
  /// - Parameters:
  ///   - prepare: looks at what there is, with the transaction's number, and says what to change;
  ///     is asked again when somebody else has changed something meanwhile.
  public mutating func change(
    _ prepare: (inout XenstoreConnection, UInt32) throws(XenstoreError) -> [XenstoreChange]
  ) throws(XenstoreError) {
    var attempts = 1
    while true {
      let transaction = try startTransaction()
      do throws(XenstoreError) {
        try perform(try prepare(&self, transaction), in: transaction)
      } catch {
        try? endTransaction(transaction, isCommitted: false)
        throw error
      }
      do throws(XenstoreError) {
        return try endTransaction(transaction, isCommitted: true)
      } catch {
        guard error == .conflict && attempts < Self.maxAttempts else { throw error }
      }
      attempts += 1
    }
  }

  /// Sends all requests, and then takes all replies: a wait for each would be most of the time.
  private mutating func perform(
    _ changes: [XenstoreChange], in transaction: UInt32
  ) throws(XenstoreError) {
    var numbers: [UInt32] = []
    for change in changes {
      numbers.append(try post(change.kind, change.payload, transaction))
    }
    var failure: XenstoreError?
    for (change, number) in zip(changes, numbers) {
      do throws(XenstoreError) {
        _ = try reply(to: number, change.kind)
      } catch {
        if failure == nil && !change.tolerates(error) { failure = error }
        // Nothing more will come.
        if error == .deadline || error == .closed { break }
      }
    }
    if let failure { throw failure }
  }

  public mutating func startTransaction() throws(XenstoreError) -> UInt32 {
    let reply = try request(XenstoreWire.Kind.transactionStart, [0], 0)
    guard let number = Self.number(reply.prefix { $0 != 0 }), number > 0 else {
      throw .protocolViolation
    }
    return number
  }

  /// - Throws: `.conflict` if it has to be done again.
  public mutating func endTransaction(
    _ transaction: UInt32, isCommitted: Bool
  ) throws(XenstoreError) {
    let word: [UInt8] = [UInt8(ascii: isCommitted ? "T" : "F"), 0]
    _ = try request(XenstoreWire.Kind.transactionEnd, word, transaction)
  }
}
