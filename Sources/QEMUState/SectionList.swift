import SaveDisk

/// Lists the sections of a state, **for people only**.
///
/// The stream does not say how long a section's payload is (migration/savevm.c). Where QEMU writes
/// footers, a section ends at the first that has its id and something of QEMU's behind it. Under Xen
/// it writes none, and a section ends where the next one plausibly begins. A hostile guest can make
/// either appear: nothing may be framed, decided or trusted by this.
///
/// Every byte is passed a fixed number of times, and a name has 255 bytes at most: the time grows
/// with the state's length and no faster, whatever it holds.
public enum SectionList {
  /// - Parameter state: from its first byte; what follows it does no harm.
  public static func scan(_ state: RawSpan) -> [StateSection] {
    let head = StateHead(parsing: state)
    guard head.kind == .deviceState || head.kind == .migrationStream else { return [] }
    var search = SectionSearch(state)
    var sections: [StateSection] = []
    var position: Int? = search.behindCommands(Int(head.offset))
    while let start = position, sections.count < StateSection.maxCount,
      let header = search.header(at: start)
    {
      search.add(header)
      let end = search.end(of: header)
      sections.append(
        StateSection(
          kind: header.kind, offset: UInt64(start), id: header.id,
          name: search.name(of: header), instance: header.instance, version: header.version,
          headerBytes: header.end - start, payloadBytes: UInt64(end.payload - header.end),
          isFramed: end.isFramed))
      position = end.next
    }
    return sections
  }
}
