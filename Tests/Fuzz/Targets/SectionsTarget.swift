import QEMUState
import SaveDisk

/// The lister of sections, which is for people only: whatever it makes up lies within the state, in
/// order, with no id twice; what it calls framed has a footer. A state's first bytes have a word for
/// everything, and arrive as they were sent.
@c(stubsave_fuzz_sections)
public func fuzzSections(_ bytes: UnsafePointer<UInt8>?, _ count: Int) {
  let input = unsafe Input(bytes, count)
  var end: UInt64 = 0
  var ids: Set<UInt32> = []
  for section in SectionList.scan(input.span) {
    require(section.offset >= end, "one section within another")
    if section.kind == .full || section.kind == .start {
      require(ids.insert(section.id).inserted, "an id twice")
    } else {
      require(ids.contains(section.id), "a part of nothing")
    }
    require(section.name.count <= 255, "a long name")
    end = section.offset + UInt64(section.headerBytes) + section.payloadBytes
    require(end <= UInt64(count), "a section beyond the end")
    if section.isFramed {
      require(end + 5 <= UInt64(count), "a footer beyond the end")
      require(input.span.byte(at: Int(end)) == 0x7E, "framed without a footer")
      end += 5
    }
    var message: [UInt8] = []
    section.encode(into: &message)
    let received = unsafe try? StateSection(
      parsing: message.span.bytes, stateBytes: UInt64(count))
    require(received == section, "a section does not arrive")
  }
  let head = StateHead(parsing: input.span)
  require(head.offset <= UInt64(count), "a first section beyond the end")
}
