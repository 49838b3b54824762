import SaveDisk
import SystemIO

/// A log that does not grow beyond a limit, however much is written: the older half of the limit stands in
/// a second file beside it, and what is older than that goes.
struct ConsoleLog: ~Copyable {
  private let path: SystemPath
  private let older: SystemPath
  /// Of each of the two; 0 is no limit.
  private let maxFileBytes: UInt64
  private var file: FileDescriptor
  private var bytes: UInt64
  /// What could not be written, of which there is no word so far.
  private(set) var lost: UInt64 = 0
  private(set) var failure: SystemError?

  /// What is there already, from a process that has served the console before, stays.
  init(_ path: SystemPath, maxBytes: UInt64) throws(SystemError) {
    guard let older = SystemPath(bytes: path.bytes + [UInt8](".older".utf8)) else {
      throw SystemError(.open, errno: Errno.invalid)
    }
    let file = try FileDescriptor.open(path, .appendLog)
    bytes = try file.status().bytes
    self.path = path
    self.older = older
    self.file = file
    maxFileBytes = maxBytes / 2
    // Of a domain of another time that had the same name.
    if bytes == 0 { try? Names.remove(older) }
  }

  /// Nothing here ends whoever writes, or keeps him for long: what there is no room for is counted.
  mutating func append(_ new: [UInt8]) {
    var start = 0
    while start < new.count {
      var count = new.count - start
      if maxFileBytes > 0 {
        if bytes >= maxFileBytes { turn() }
        count = min(count, Int(clamping: maxFileBytes - min(bytes, maxFileBytes)))
        // It could not be turned.
        if count == 0 {
          lost += UInt64(new.count - start)
          return
        }
      }
      do throws(SystemError) {
        try unsafe file.writeAll(new.span.bytes.extracting(start..<start + count))
        bytes += UInt64(count)
      } catch {
        failure = error
        lost += UInt64(count)
        bytes = (try? file.status().bytes) ?? bytes
      }
      start += count
    }
  }

  /// What is there becomes the older half.
  private mutating func turn() {
    do throws(SystemError) {
      try Names.rename(path, to: older)
      file = try FileDescriptor.open(path, .appendLog)
      bytes = try file.status().bytes
    } catch {
      failure = error
    }
  }

  /// What was lost since the last call, and why.
  mutating func takeLoss() -> (bytes: UInt64, failure: SystemError?)? {
    if lost == 0 { return nil }
    defer {
      lost = 0
      failure = nil
    }
    return (lost, failure)
  }
}
