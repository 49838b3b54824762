import SaveDisk

/// Looks for headers and footers in a state, and remembers which ids it has seen: QEMU gives each
/// only once.
struct SectionSearch: ~Copyable, ~Escapable {
  struct Header {
    let kind: StateSection.Kind
    let id: UInt32
    /// Of a part: none of its own.
    let nameRange: Range<Int>
    let instance: UInt32
    let version: UInt32
    let end: Int
  }

  struct End {
    /// Of the payload.
    let payload: Int
    let isFramed: Bool
    /// Where the next section begins; nil if this is the last.
    let next: Int?
  }

  private let state: RawSpan
  /// All zeros from here on.
  private let zerosFrom: Int
  /// Until one has been missed.
  private var hasFooters = true
  private var isFirst = true
  private var seen = [UInt64](repeating: 0, count: Int(SectionSearch.maxID) / 64)
  private var started: [Header] = []

  private static let footerBytes = 5
  /// QEMU counts what has been plugged in since it was started.
  private static let maxID: UInt32 = 1 << 20
  /// QEMU sends one or two in a row; a chain of them is not followed from each of its places.
  private static let maxCommands = 8
  /// What is saved in pieces: RAM, and few others.
  private static let maxStarted = 16

  @_lifetime(copy state)
  init(_ state: RawSpan) {
    self.state = state
    var end = state.byteCount
    while end > 0 && state.byte(at: end - 1) == 0 { end -= 1 }
    zerosFrom = end
  }

  mutating func add(_ header: Header) {
    if header.id < SectionSearch.maxID { seen[Int(header.id / 64)] |= 1 << UInt64(header.id % 64) }
    if header.kind == .start && started.count < SectionSearch.maxStarted { started.append(header) }
  }

  func name(of header: Header) -> [UInt8] {
    var range = header.nameRange
    if let start = started.first(where: { $0.id == header.id }) { range = start.nameRange }
    return range.map { state.byte(at: $0) }
  }

  /// Commands stand between sections, with their length (QEMU_VM_COMMAND).
  func behindCommands(_ position: Int) -> Int {
    var position = position
    for _ in 0..<SectionSearch.maxCommands {
      guard position + SectionSearch.footerBytes <= state.byteCount,
        state.byte(at: position) == SectionMark.command
      else { break }
      position += SectionSearch.footerBytes + Int(uint32(at: position + 1) & 0xFFFF)
    }
    return position
  }

  /// Where a section ends.
  mutating func end(of header: Header) -> End {
    defer { isFirst = false }
    if hasFooters {
      if let end = framedEnd(of: header) { return end }
      hasFooters = false
    }
    if let next = nextByLook(behind: header) {
      let isFramed = isFooter(of: header, at: next - SectionSearch.footerBytes)
      return End(
        payload: isFramed ? next - SectionSearch.footerBytes : next, isFramed: isFramed, next: next)
    }
    return lastEnd(of: header)
  }

  /// The first footer with its id that has another section behind it, or the end of the state.
  private func framedEnd(of header: Header) -> End? {
    for offset in header.end..<max(header.end, state.byteCount - SectionSearch.footerBytes) {
      guard isFooter(of: header, at: offset) else { continue }
      let next = behindCommands(offset + SectionSearch.footerBytes)
      if self.header(at: next) != nil {
        return End(payload: offset, isFramed: true, next: next)
      }
      // Of a state without footers, zeros behind the first section's id prove nothing.
      if !isFirst && isEnd(next) { return End(payload: offset, isFramed: true, next: nil) }
    }
    return nil
  }

  /// The end's mark, with nothing, zeros or the machine's description behind it.
  private func isEnd(_ position: Int) -> Bool {
    guard position < state.byteCount, state.byte(at: position) == SectionMark.end else {
      return false
    }
    let behind = position + 1
    if zerosFrom <= behind { return true }
    return behind + SectionSearch.footerBytes < state.byteCount
      && state.byte(at: behind) == SectionMark.description
      && state.byte(at: behind + SectionSearch.footerBytes) == UInt8(ascii: "{")
  }

  private func nextByLook(behind header: Header) -> Int? {
    for offset in header.end..<max(header.end, state.byteCount) {
      if let found = self.header(at: offset), looksRight(found) { return offset }
    }
    return nil
  }

  /// Of the last section: before the end's mark, whatever follows that; or with the state's last byte.
  private func lastEnd(of header: Header) -> End {
    for offset in header.end..<max(header.end, state.byteCount - SectionSearch.footerBytes)
    where isFooter(of: header, at: offset)
      && state.byte(at: offset + SectionSearch.footerBytes) == SectionMark.end
    {
      return End(payload: offset, isFramed: true, next: nil)
    }
    return End(payload: max(state.byteCount - 1, header.end), isFramed: false, next: nil)
  }

  /// What stands at `position` if a section may begin there.
  func header(at position: Int) -> Header? {
    guard position + SectionSearch.footerBytes <= state.byteCount,
      let kind = StateSection.Kind(rawValue: state.byte(at: position))
    else { return nil }
    let id = uint32(at: position + 1)
    let behindID = position + SectionSearch.footerBytes
    switch kind {
    case .part, .lastPart:
      guard let start = started.first(where: { $0.id == id }) else { return nil }
      return Header(
        kind: kind, id: id, nameRange: behindID..<behindID, instance: start.instance,
        version: start.version, end: behindID)
    case .start, .full:
      guard !isSeen(id), behindID < state.byteCount else { return nil }
      let name = (behindID + 1)..<(behindID + 1 + Int(state.byte(at: behindID)))
      guard !name.isEmpty, name.upperBound + 8 <= state.byteCount else { return nil }
      for index in name {
        let byte = state.byte(at: index)
        if byte <= 0x20 || byte >= 0x7F { return nil }
      }
      return Header(
        kind: kind, id: id, nameRange: name, instance: uint32(at: name.upperBound),
        version: uint32(at: name.upperBound + 4), end: name.upperBound + 8)
    }
  }

  /// Whether a header that nothing else vouches for is likely one. The numbers are those of QEMU's
  /// own devices: a version counts up or is a date (hw/nvram/eeprom93xx.c).
  private func looksRight(_ header: Header) -> Bool {
    guard header.nameRange.count >= 3, header.id < SectionSearch.maxID,
      header.instance <= 65_535
    else { return false }
    let month = header.version / 100 % 100
    let day = header.version % 100
    return header.version <= 65_535
      || 19_900_000..<21_000_000 ~= header.version && 1...12 ~= month && 1...31 ~= day
  }

  private func isSeen(_ id: UInt32) -> Bool {
    id < SectionSearch.maxID && seen[Int(id / 64)] >> UInt64(id % 64) & 1 == 1
  }

  private func isFooter(of header: Header, at offset: Int) -> Bool {
    offset >= header.end && state.byte(at: offset) == SectionMark.footer
      && uint32(at: offset + 1) == header.id
  }

  private func uint32(at offset: Int) -> UInt32 {
    var value: UInt32 = 0
    for index in offset..<(offset + 4) { value = value << 8 | UInt32(state.byte(at: index)) }
    return value
  }
}
