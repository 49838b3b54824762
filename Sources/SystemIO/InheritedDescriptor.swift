import CSystem

/// Descriptors that this process was handed over, under the names that files have: /dev/stdout,
/// /dev/fd/3, /proc/self/fd/3, and links to those.
///
/// Opening such a name gives another open file, with an offset of its own, and fails for a socket;
/// replacing it would replace a link in /dev. What is meant is the descriptor.
public enum InheritedDescriptor {
  /// Symbolic links that are followed at most, as path_resolution(7) has it.
  private static let maxLinks = 40

  /// The descriptor that `path` names; nil if it names something else. It may be closed.
  public static func number(of path: SystemPath) -> Int32? {
    var path = path
    for _ in 0...maxLinks {
      if let number = wellKnown(path) { return number }
      let (directory, name) = path.directoryAndName
      if let number = decimal(name.bytes), isOwnDirectory(directory) { return number }
      guard let status = try? FileStatus.of(path, followingLinks: false),
        status.kind == .symbolicLink, let target = try? Names.target(of: path)
      else { return nil }
      if target.bytes.first == UInt8(ascii: "/") {
        path = target
      } else {
        guard let next = directory.appending([UInt8](target.bytes)) else { return nil }
        path = next
      }
    }
    return nil
  }

  /// Whether it was open before this program began: what that opens itself has FD_CLOEXEC, and
  /// what has that is closed when a program begins.
  public static func isOpen(_ number: Int32) -> Bool {
    guard let flags = try? Syscalls.descriptorFlags(number) else { return false }
    return flags & FD_CLOEXEC == 0
  }

  /// Also where there is no /proc, or /dev has been tampered with.
  private static func wellKnown(_ path: SystemPath) -> Int32? {
    var number: Int32 = 0
    for name in ["/dev/stdin", "/dev/stdout", "/dev/stderr"] as [StaticString] {
      if isSame(path.bytes, name) { return number }
      number += 1
    }
    for prefix in ["/dev/fd/", "/proc/self/fd/", "/proc/thread-self/fd/"] as [StaticString] {
      let count = prefix.utf8CodeUnitCount
      if isSame(path.bytes.prefix(count), prefix) { return decimal(path.bytes.dropFirst(count)) }
    }
    return nil
  }

  private static func isSame(_ bytes: ArraySlice<UInt8>, _ word: StaticString) -> Bool {
    unsafe bytes.elementsEqual(
      UnsafeBufferPointer(start: word.utf8Start, count: word.utf8CodeUnitCount))
  }

  /// As /proc writes them: no sign, no zero in front.
  private static func decimal(_ bytes: ArraySlice<UInt8>) -> Int32? {
    guard let first = bytes.first, bytes.count <= 10 else { return nil }
    if first == UInt8(ascii: "0") && bytes.count > 1 { return nil }
    var value: Int64 = 0
    for byte in bytes {
      guard byte >= UInt8(ascii: "0") && byte <= UInt8(ascii: "9") else { return nil }
      value = value * 10 + Int64(byte - UInt8(ascii: "0"))
    }
    return Int32(exactly: value)
  }

  /// Whether a directory is where /proc shows the open files of this process.
  private static func isOwnDirectory(_ path: SystemPath) -> Bool {
    // Open while it is compared: an inode of /proc lives as long as somebody uses it.
    guard let directory = try? FileDescriptor.openDirectory(path),
      let status = try? directory.status()
    else { return false }
    for own in ["/proc/self/fd", "/proc/thread-self/fd"] as [StaticString] {
      if let own = try? FileStatus.of(SystemPath(word: own)), own.isSameFile(as: status) {
        return true
      }
    }
    return false
  }
}
