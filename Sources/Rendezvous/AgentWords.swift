import SaveDisk

/// What the agent, or QEMU, says of a failure, for people; nothing is decided by it
/// (formats/rendezvous.md, section 2.4).
public struct AgentWords: Hashable, Sendable {
  public static let maxBytes = 120
  private static let ellipsis: StaticString = "..."

  /// 1 to 120 bytes of printable ASCII, without a space at either end or two in a row.
  public let bytes: [UInt8]
  /// Something was left out at the end.
  public var isCut: Bool { unsafe bytes.suffix(3).elementsEqual(AgentWords.ellipsisBytes) }

  /// Nil if the bytes do not have the form.
  public init?(_ bytes: [UInt8]) {
    guard bytes.count >= 1 && bytes.count <= AgentWords.maxBytes else { return nil }
    var last = AgentWords.space
    for byte in bytes {
      guard byte >= AgentWords.space && byte < 0x7F else { return nil }
      if byte == AgentWords.space && last == AgentWords.space { return nil }
      last = byte
    }
    if last == AgentWords.space { return nil }
    self.bytes = bytes
  }

  /// As much of a text as there is room for; nil if there is nothing to be said.
  public init?(_ text: PlainText) {
    var bytes: [UInt8] = []
    for byte in text.bytes where byte != AgentWords.space || bytes.last != AgentWords.space {
      bytes.append(byte)
    }
    if bytes.first == AgentWords.space { bytes.removeFirst() }
    if bytes.last == AgentWords.space { bytes.removeLast() }
    if bytes.count > AgentWords.maxBytes {
      bytes = [UInt8](bytes.prefix(AgentWords.maxBytes - AgentWords.ellipsis.utf8CodeUnitCount))
      if bytes.last == AgentWords.space { bytes.removeLast() }
      unsafe bytes.append(contentsOf: AgentWords.ellipsisBytes)
    }
    self.init(bytes)
  }

  private static let space = UInt8(ascii: " ")
  private static var ellipsisBytes: UnsafeBufferPointer<UInt8> {
    unsafe UnsafeBufferPointer(
      start: ellipsis.utf8Start, count: ellipsis.utf8CodeUnitCount)
  }
}

extension PlainText {
  public mutating func append(_ words: AgentWords) {
    for byte in words.bytes { append(byte: byte) }
  }
}
