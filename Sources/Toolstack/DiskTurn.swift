import SaveDisk
import SystemIO
import Transfer

/// Whose turn it is to make a disk for a stubdomain, of all commands on this machine.
struct DiskTurn: ~Copyable {
  private let file: FileDescriptor

  /// Making one takes milliseconds.
  private static let timeoutMilliseconds: UInt64 = 10_000

  static func take() throws(ToolError) -> DiskTurn {
    try RuntimeDirectory.make()
    var name = PlainText()
    name.append("turn")
    let path = RuntimeDirectory.entry(name)
    let file = try attempt(path) { () throws(SystemError) in
      let file = try FileDescriptor.open(path, .lockFile)
      try file.lockExclusively(until: Deadline(timeoutMilliseconds: timeoutMilliseconds))
      return file
    }
    return DiskTurn(file: file)
  }

  private init(file: consuming FileDescriptor) { self.file = file }

  /// Until here it is held: the compiler may end what nobody uses any more.
  consuming func end() {}

  /// Counts one more disk, in the same file.
  ///
  /// - Returns: how many there have been before.
  func count() throws(ToolError) -> UInt64 {
    try attempt(RuntimeDirectory.path) { () throws(SystemError) in
      let bytes = try file.bytes(count: min(try file.status().bytes, 20))
      let ordinal = UInt64(String(decoding: bytes, as: UTF8.self)) ?? 0
      var text = PlainText()
      text.append(ordinal &+ 1)
      // There is a number at every moment: whoever is killed here does not begin anew at 0.
      try unsafe file.writeAll(text.bytes.span.bytes, at: 0)
      try file.truncate(to: UInt64(text.bytes.count))
      return ordinal
    }
  }
}
