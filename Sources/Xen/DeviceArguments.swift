import SaveDisk
import SystemIO
import Xenstore

/// Those of a QEMU's arguments that decide what devices its machine has: what a state that was
/// saved by one QEMU must find in another. In the order in which they are given, which decides
/// about addresses.
public struct DeviceArguments: Equatable, Sendable {
  /// An option and its value, one each: "-device e1000,id=nic0". Printable ASCII.
  public let options: [[UInt8]]

  /// Options with a value that says something of devices (qemu-options.hx).
  private static let wanted = [
    "-machine", "-M", "-m", "-smp", "-cpu", "-global", "-device", "-drive", "-cdrom", "-vga",
    "-nic", "-net", "-soundhw", "-usbdevice", "-serial", "-parallel",
  ]
  private static let withoutValue = ["-usb", "-nodefaults"]
  /// Parts of a value that say where something is, and not what it is.
  private static let elsewhere = ["file", "ifname", "script", "downscript", "path", "fd"]

  /// - Parameter options: as they were written down.
  public init(options: [[UInt8]]) { self.options = options }

  /// - Parameter words: as QEMU gets them.
  public init(words: [[UInt8]]) {
    var found: [[UInt8]] = []
    var index = 0
    while index < words.count {
      let option = String(decoding: words[index], as: UTF8.self)
      if DeviceArguments.withoutValue.contains(option) {
        found.append(DeviceArguments.plain(words[index]))
      } else if DeviceArguments.wanted.contains(option), index + 1 < words.count {
        index += 1
        let value = DeviceArguments.value(words[index])
        found.append(DeviceArguments.plain(words[index - 1] + [UInt8(ascii: " ")] + value))
      }
      index += 1
    }
    options = found
  }

  private static func value(_ bytes: [UInt8]) -> [UInt8] {
    let parts = bytes.split(separator: UInt8(ascii: ","), omittingEmptySubsequences: false)
    let kept = parts.filter { part in
      let key = part.prefix { $0 != UInt8(ascii: "=") }
      return !elsewhere.contains(String(decoding: key, as: UTF8.self))
    }
    return [UInt8](kept.joined(separator: [UInt8(ascii: ",")]))
  }

  private static func plain(_ bytes: [UInt8]) -> [UInt8] {
    var text = PlainText()
    text.append(escaping: bytes, maxBytes: 1024)
    return text.bytes
  }

  /// XXH3-128 of the options, a line each.
  public var digest: Bytes16 {
    let lines = options.flatMap { $0 + [UInt8(ascii: "\n")] }
    return unsafe Hash.digest(lines.span.bytes)
  }
}

extension XenDomains {
  /// Of the guest's QEMU, as libxl gives them to the stubdomain; nil if it has none.
  public static func deviceArguments(
    ofGuest domid: UInt32, _ xenstore: inout XenstoreConnection
  ) throws(XenError) -> DeviceArguments? {
    try arguments(ofGuest: domid, &xenstore).map { DeviceArguments(words: $0) }
  }

  /// Whether libxl has told the guest's QEMU to wait for a state.
  public static func awaitsState(
    guest domid: UInt32, _ xenstore: inout XenstoreConnection
  ) throws(XenError) -> Bool {
    try arguments(ofGuest: domid, &xenstore)?.contains([UInt8]("-incoming".utf8)) ?? false
  }

  private static func arguments(
    ofGuest domid: UInt32, _ xenstore: inout XenstoreConnection
  ) throws(XenError) -> [[UInt8]]? {
    guard let vm = try value(&xenstore, Node.domain(domid)("vm")),
      let directory = SystemPath(bytes: vm + [UInt8]("/image/dm-argv".utf8))
    else { return nil }
    var words: [[UInt8]] = []
    do throws(XenstoreError) {
      // "000", "001" and on: an order of text.
      let names = try xenstore.directory(directory).sorted { $0.lexicographicallyPrecedes($1) }
      for name in names {
        guard let node = directory.appending(name) else { continue }
        words.append(try xenstore.read(node))
      }
    } catch {
      if error == .notFound { return nil }
      throw .xenstore(error)
    }
    return words
  }

  /// "75757a59-0182-4b21-89d1-62b5127d8c8d"; nil if it says none.
  public static func uuid(
    of domid: UInt32, _ xenstore: inout XenstoreConnection
  ) throws(XenError) -> [UInt8]? {
    let vm = try value(&xenstore, Node.domain(domid)("vm"))
    return vm.map { [UInt8]($0.split(separator: UInt8(ascii: "/")).last ?? []) }
  }
}
