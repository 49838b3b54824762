import SaveDisk

/// How an offer names the disk: a block device of the stubdomain, or an open file of a process.
public struct DeviceName: Hashable, Sendable {
  public static let maxBytes = 32

  /// 1 to 32 bytes of `a-z`, `0-9`, `-`, `:`.
  public let bytes: [UInt8]

  /// Nil if it is no valid name.
  public init?(_ bytes: [UInt8]) {
    guard bytes.count >= 1 && bytes.count <= DeviceName.maxBytes else { return nil }
    for byte in bytes {
      switch byte {
      case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "0")...UInt8(ascii: "9"),
        UInt8(ascii: "-"), UInt8(ascii: ":"):
        continue
      default: return nil
      }
    }
    self.bytes = bytes
  }

  /// "fd:" and the number of an open file.
  public init(openFile number: Int32) {
    var text = PlainText()
    text.append("fd:")
    text.append(UInt64(max(number, 0)))
    bytes = text.bytes
  }

  /// The number of the open file that it names; nil if it names a device.
  public var openFile: Int32? {
    guard bytes.count > 3, bytes[0] == UInt8(ascii: "f"), bytes[1] == UInt8(ascii: "d"),
      bytes[2] == UInt8(ascii: ":")
    else { return nil }
    return MessageFields.decimal(bytes[3...]).flatMap { $0 <= 1 << 20 ? Int32($0) : nil }
  }
}
