import SaveDisk
import SystemIO

/// A section of a device state: one device, by the name and numbers that QEMU gives it.
public struct StateSection: Equatable, Sendable {
  /// Of the section's first byte, from the start of the state.
  public let offset: UInt64
  public let id: UInt32
  /// Bytes from the state: to be escaped when shown.
  public let name: [UInt8]
  public let instance: UInt32
  public let version: UInt32
  public let headerBytes: Int
  /// Up to the next section, its footer left out.
  public let payloadBytes: UInt64
}

/// Lists the sections of a device state, **for people only**.
///
/// The stream does not say how long a section's payload is (migration/savevm.c): a section ends
/// where the next one plausibly begins. A hostile guest can make one appear. Nothing may be framed,
/// decided or trusted by this.
public enum SectionList {
  /// A section's header: a type byte, id, name, instance and version, all big-endian.
  private struct Header {
    let id: UInt32
    let nameRange: Range<Int>
    let instance: UInt32
    let version: UInt32
    let end: Int
  }

  /// QEMU_VM_SECTION_FULL, QEMU_VM_SECTION_FOOTER and QEMU_VM_EOF.
  private enum Mark {
    static let full: UInt8 = 0x04
    static let footer: UInt8 = 0x7E
    static let end: UInt8 = 0x00
  }

  private static let fileHeaderBytes = 8
  private static let footerBytes = 5
  /// QEMU's names are paths such as "0000:00:03.0/e1000".
  private static let minNameBytes = 3
  private static let maxInstance: UInt32 = 65_535
  private static let maxVersion: UInt32 = 65_535
  /// Ids rise by one for each registered device; some devices register and save nothing.
  private static let maxIDStep: UInt32 = 64

  /// - Parameter state: a device state from its first byte; what follows it does no harm.
  public static func scan(_ state: RawSpan) -> [StateSection] {
    var sections: [StateSection] = []
    guard state.byteCount > fileHeaderBytes,
      var current = header(at: fileHeaderBytes, in: state, after: nil)
    else { return sections }
    var start = fileHeaderBytes
    while sections.count < StateSection.maxCount {
      let (end, next) = findEnd(of: current, in: state)
      let payloadEnd = hasFooter(current.id, before: end, in: state) ? end - footerBytes : end
      sections.append(
        StateSection(
          offset: UInt64(start), id: current.id, name: bytes(current.nameRange, of: state),
          instance: current.instance, version: current.version, headerBytes: current.end - start,
          payloadBytes: UInt64(max(payloadEnd - current.end, 0))))
      guard let next else { break }
      start = end
      current = next
    }
    return sections
  }

  /// Where a section ends, and the header that stands there, if it is not the last.
  private static func findEnd(of section: Header, in state: RawSpan) -> (Int, Header?) {
    var offset = section.end
    while offset < state.byteCount {
      if state.byte(at: offset) == Mark.full,
        let next = header(at: offset, in: state, after: section)
      {
        return (offset, next)
      }
      offset += 1
    }
    return (endOfLast(section, in: state), nil)
  }

  /// The last section ends before the EOF mark; what follows that is the last byte, or a
  /// description of the machine that is not ours to read.
  private static func endOfLast(_ section: Header, in state: RawSpan) -> Int {
    var offset = section.end
    while offset + footerBytes < state.byteCount {
      if hasFooter(section.id, before: offset + footerBytes, in: state),
        state.byte(at: offset + footerBytes) == Mark.end
      {
        return offset + footerBytes
      }
      offset += 1
    }
    return max(state.byteCount - 1, section.end)
  }

  private static func hasFooter(_ id: UInt32, before end: Int, in state: RawSpan) -> Bool {
    let start = end - footerBytes
    return start >= 0 && state.byte(at: start) == Mark.footer
      && bigEndianUInt32(at: start + 1, in: state) == id
  }

  /// A header at `offset`, if what stands there looks like one.
  private static func header(
    at offset: Int, in state: RawSpan, after previous: Header?
  ) -> Header? {
    guard offset + 6 <= state.byteCount, state.byte(at: offset) == Mark.full else { return nil }
    let id = bigEndianUInt32(at: offset + 1, in: state)
    if let previous {
      guard id > previous.id && id - previous.id <= maxIDStep else { return nil }
    }
    let count = Int(state.byte(at: offset + 5))
    let name = (offset + 6)..<(offset + 6 + count)
    guard count >= minNameBytes, name.upperBound + 8 <= state.byteCount else { return nil }
    for index in name {
      let byte = state.byte(at: index)
      if byte <= 0x20 || byte >= 0x7F { return nil }
    }
    let instance = bigEndianUInt32(at: name.upperBound, in: state)
    let version = bigEndianUInt32(at: name.upperBound + 4, in: state)
    guard instance <= maxInstance && version <= maxVersion else { return nil }
    return Header(
      id: id, nameRange: name, instance: instance, version: version, end: name.upperBound + 8)
  }

  private static func bigEndianUInt32(at offset: Int, in state: RawSpan) -> UInt32 {
    var value: UInt32 = 0
    for index in offset..<(offset + 4) { value = value << 8 | UInt32(state.byte(at: index)) }
    return value
  }

  private static func bytes(_ range: Range<Int>, of state: RawSpan) -> [UInt8] {
    range.map { state.byte(at: $0) }
  }
}
