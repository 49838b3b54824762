import SystemIO

/// Which QEMU libxl starts in dom0 for a stubdomain's consoles, before it has started it: the path is a
/// word of libxl's (QEMU_XEN_PATH, libxl_dm.c, libxl__domain_device_model) and stands nowhere else.
public enum ConsoleQEMU: Sendable {
  /// One whose consoles are `XenDevice`s. Of a console that is no serial line of its own and has no
  /// `output` node it makes nothing, and the primary one it does not serve before it is told that it is
  /// connected, which nobody does (hw/char/xen_console.c).
  case newCode(SystemPath)
  /// One before that.
  case oldCode(SystemPath)
  /// libxl is not found in the process, or its QEMU is not there.
  case unknown

  /// Of the new code only: what `xen_console_realize` says.
  private static let mark: StaticString = "cannot create primary Xen console"
  private static let library: StaticString = "libxenlight.so"
  private static let program: StaticString = "qemu-system-"
  private static let maxPathBytes = 4096
  private static let maxPaths = 16
  private static let maxMapBytes = 4 << 20

  /// - Parameters:
  ///   - process: has libxl: whoever has started this one.
  public static func started(by process: Int32) -> ConsoleQEMU {
    var old: SystemPath?
    for path in programs(of: process) {
      guard let isNew = try? FileSearch.contains(mark, in: path) else { continue }
      if isNew { return .newCode(path) }
      old = old ?? path
    }
    return old.map { .oldCode($0) } ?? .unknown
  }

  /// The QEMUs that the process' libxl names.
  private static func programs(of process: Int32) -> [SystemPath] {
    for library in libxl(of: process) {
      let found = try? FileSearch.strings(
        holding: program, in: library, maxBytes: maxPathBytes, maxCount: maxPaths)
      guard let found else { continue }
      return found.compactMap { $0.first == UInt8(ascii: "/") ? SystemPath(bytes: $0) : nil }
    }
    return []
  }

  /// Ways to the file that the process has mapped: the first leads to it also if an upgrade has removed it
  /// meanwhile (proc(5), map_files), but wants CAP_SYS_ADMIN.
  private static func libxl(of process: Int32) -> [SystemPath] {
    let folder = [UInt8](SystemPath(word: "/proc/", number: UInt64(process)).bytes)
    guard let maps = SystemPath(bytes: folder + [UInt8]("/maps".utf8)),
      let text = try? FileDescriptor.open(maps, .read).contents(maxBytes: maxMapBytes)
    else { return [] }
    for line in text.split(separator: UInt8(ascii: "\n")) {
      // Addresses, permissions, offset, device, inode, and the path, behind any number of spaces.
      let words = line.split(separator: UInt8(ascii: " "), maxSplits: 5)
      guard words.count == 6 else { continue }
      let path = [UInt8](words[5].drop { $0 == UInt8(ascii: " ") })
      guard let name = path.split(separator: UInt8(ascii: "/")).last,
        name.starts(with: SystemPath(word: library).bytes)
      else { continue }
      let mapped = SystemPath(bytes: folder + [UInt8]("/map_files/".utf8) + words[0])
      return [mapped, SystemPath(bytes: path)].compactMap { $0 }
    }
    return []
  }
}
