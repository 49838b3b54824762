import SaveDisk
import SystemIO

/// Paths in xenstore, from words and numbers of our own.
struct Node {
  private var text = PlainText()

  init(_ start: StaticString) { text.append(start) }

  func callAsFunction(_ word: StaticString) -> Node {
    var node = self
    node.text.append("/")
    node.text.append(word)
    return node
  }

  func callAsFunction(_ number: UInt32) -> Node {
    var node = self
    node.text.append("/")
    node.text.append(UInt64(number))
    return node
  }

  var path: SystemPath {
    guard let path = SystemPath(bytes: text.bytes) else { preconditionFailure() }
    return path
  }

  static func domain(_ domid: UInt32) -> Node { Node("/local/domain")(domid) }
  /// dom0's own: no stubdomain can write below it.
  static let backends = Node("/local/domain/0/backend/vbd")
}

/// Decimal numbers in nodes.
enum Decimal {
  static func bytes(_ number: UInt32) -> [UInt8] {
    var text = PlainText()
    text.append(UInt64(number))
    return text.bytes
  }

  /// Nil for anything that is not 1 to 10 digits, at most 2^32 - 1.
  static func number(_ bytes: [UInt8]) -> UInt32? {
    guard !bytes.isEmpty && bytes.count <= 10 else { return nil }
    var value: UInt64 = 0
    for digit in bytes {
      guard digit >= UInt8(ascii: "0") && digit <= UInt8(ascii: "9") else { return nil }
      value = value * 10 + UInt64(digit - UInt8(ascii: "0"))
    }
    return UInt32(exactly: value)
  }
}
