import SaveDisk

@testable import QEMUMonitor

/// A line of JSON. What is accepted here libyajl and json-c accept too, and see the same in it; spelled anew,
/// it is seen again.
@c(stubsave_fuzz_json)
public func fuzzJSON(_ bytes: UnsafePointer<UInt8>?, _ count: Int) {
  let line = unsafe Input(bytes, count).array
  do throws(JSONError) {
    let document = try JSONDocument(parsing: line)
    compare(document, line)
    compareWithJSONC(document, line)
  } catch {
    require(error.offset <= count, "an offset behind the line")
  }
}

func compare(_ document: JSONDocument, _ line: [UInt8]) {
  guard let theirs = YajlReading.read(line) else { finding("libyajl refuses it") }
  let ours = document.encoded(0)
  require(theirs.text == ours, "libyajl sees something else")
  require(ours.allSatisfy { $0 >= 0x20 && $0 < 0x7F }, "a text that is not plain")
  guard let again = try? JSONDocument(parsing: ours), again.encoded(0) == ours else {
    finding("spelled anew it is another")
  }
  for name in theirs.names {
    guard document.kind(0) == .object else { continue }
    // By the bytes of the name: the only member of that name.
    var found = 0
    var index = 1
    while index < document.tokens[0].end {
      if document.string(index) == name { found += 1 }
      index = document.tokens[index + 1].end
    }
    require(found == 1, "\(found) members of one name")
  }
}
