import SystemIO

extension XenstoreConnection {
  /// Names of the nodes below, however many.
  public mutating func directory(
    _ path: SystemPath, in transaction: UInt32 = 0
  ) throws(XenstoreError) -> [[UInt8]] {
    do throws(XenstoreError) {
      return try request(XenstoreWire.Kind.directory, Self.terminated(path), transaction)
        .split(separator: 0).map { [UInt8]($0) }
    } catch {
      // E2BIG: more than one message holds.
      guard error == .quota else { throw error }
    }
    return try directoryInParts(path, transaction)
  }

  /// The directory may change between two parts so often.
  private static let maxAttempts = 100

  /// XS_DIRECTORY_PART (docs/misc/xenstore.txt): a generation count and names from an offset on; an
  /// empty name stands behind the last one.
  private mutating func directoryInParts(
    _ path: SystemPath, _ transaction: UInt32
  ) throws(XenstoreError) -> [[UInt8]] {
    for _ in 0..<Self.maxAttempts {
      if let names = try directoryOfOneGeneration(path, transaction) { return names }
    }
    throw .conflict
  }

  /// Nil if it has changed meanwhile.
  private mutating func directoryOfOneGeneration(
    _ path: SystemPath, _ transaction: UInt32
  ) throws(XenstoreError) -> [[UInt8]]? {
    var names: [[UInt8]] = []
    var offset: UInt64 = 0
    var generation: ArraySlice<UInt8>?
    while true {
      let reply = try request(
        XenstoreWire.Kind.directoryPart, Self.terminated(path) + Self.decimal(offset) + [0],
        transaction)
      guard let end = reply.firstIndex(of: 0) else { throw .protocolViolation }
      if let generation, generation != reply[..<end] { return nil }
      generation = reply[..<end]
      var part = reply[(end + 1)...]
      let isLast = part.count < 2 || part.suffix(2).allSatisfy { $0 == 0 }
      if isLast && !part.isEmpty { part.removeLast() }
      // Where the next part begins counts the names' bytes with their NULs.
      guard isLast || !part.isEmpty else { throw .protocolViolation }
      names += part.split(separator: 0).map { [UInt8]($0) }
      if isLast { return names }
      offset += UInt64(part.count)
    }
  }
}
