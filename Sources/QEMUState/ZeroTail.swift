import SaveDisk
import SystemIO

/// How many zeros a state without trailer may end in (formats/save-disk.md, section 10).
enum ZeroTail {
  /// A device whose section may end in more zeros than others' do.
  private struct Device {
    let name: StaticString
    /// Other names begin with it, too.
    let isPrefix: Bool
    let maxBytes: UInt64
  }

  private static let maxBytes: UInt64 = 4096
  private static let shortBytes: UInt64 = 16_384
  private static let longBytes: UInt64 = 65_536
  /// From such a section's beginning to its zeros: of a virtio-gpu 45 KB.
  private static let windowBytes: UInt64 = 65_536

  private static let devices = [
    Device(name: "ne2000", isPrefix: false, maxBytes: longBytes),
    Device(name: "virtio-", isPrefix: true, maxBytes: longBytes),
    Device(name: "lsiscsi", isPrefix: false, maxBytes: shortBytes),
    Device(name: "ohci", isPrefix: false, maxBytes: shortBytes),
    Device(name: "qxl", isPrefix: false, maxBytes: shortBytes),
    Device(name: "tulip", isPrefix: false, maxBytes: shortBytes),
    Device(name: "pvscsi", isPrefix: false, maxBytes: shortBytes),
  ]

  /// What a state may end in of which that is left without its zeros.
  static func limit(
    _ file: borrowing FileDescriptor, endingAt end: UInt64
  ) throws(SystemError) -> UInt64 {
    let count = Int(min(end, windowBytes))
    if count == 0 { return maxBytes }
    var buffer = AlignedBuffer(byteCount: count)
    try StateFile.read(file, at: end - UInt64(count), into: &buffer, count: count)
    let window = buffer.bytes(0..<count)
    var offset = count
    while offset > 0 {
      offset -= 1
      if let name = sectionName(at: offset, in: window) {
        return limit(window.extracting(name))
      }
    }
    return maxBytes
  }

  /// Of a section's header, if what stands there looks like one: QEMU_VM_SECTION_FULL, id, a name
  /// with its length, instance; what may lie among the zeros is left out.
  private static func sectionName(at offset: Int, in window: RawSpan) -> Range<Int>? {
    guard window.byte(at: offset) == 0x04, offset + 6 < window.byteCount,
      window.byte(at: offset + 1) == 0, window.byte(at: offset + 2) == 0
    else { return nil }
    let start = offset + 6
    let end = start + Int(window.byte(at: offset + 5))
    guard end >= start + 3 && end <= window.byteCount else { return nil }
    for index in start..<end {
      let byte = window.byte(at: index)
      if byte <= 0x20 || byte >= 0x7F { return nil }
    }
    for index in end..<min(end + 2, window.byteCount) where window.byte(at: index) != 0 {
      return nil
    }
    return start..<end
  }

  /// - Parameter name: such as "0000:00:02.0/ne2000".
  private static func limit(_ name: RawSpan) -> UInt64 {
    var start = name.byteCount
    while start > 0 && name.byte(at: start - 1) != UInt8(ascii: "/") { start -= 1 }
    let last = name.extracting(start..<name.byteCount)
    for device in devices {
      let count = device.name.utf8CodeUnitCount
      guard device.isPrefix ? last.byteCount > count : last.byteCount == count else { continue }
      var matching = 0
      while matching < count {
        if unsafe last.byte(at: matching) != device.name.utf8Start[matching] { break }
        matching += 1
      }
      if matching == count { return device.maxBytes }
    }
    return maxBytes
  }
}
