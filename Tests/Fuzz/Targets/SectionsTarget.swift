import QEMUState
import SaveDisk

/// The lister of sections, which is for people only: whatever it makes up lies within the state, in
/// order.
@c(stubsave_fuzz_sections)
public func fuzzSections(_ bytes: UnsafePointer<UInt8>?, _ count: Int) {
  let input = unsafe Input(bytes, count)
  var end: UInt64 = 0
  var id: UInt32?
  for section in SectionList.scan(input.span) {
    require(section.offset >= end, "one section within another")
    require(id.map { section.id > $0 } ?? true, "ids that do not rise")
    require(section.name.count <= 255, "a long name")
    end = section.offset + UInt64(section.headerBytes) + section.payloadBytes
    require(end <= UInt64(count), "a section beyond the end")
    id = section.id
  }
}
