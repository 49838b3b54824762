import SaveDisk
import SystemIO

@testable import Xenstore

/// A xenstored that says these bytes and ends, whatever it is asked. Byte 0 says what that is.
@c(stubsave_fuzz_xenstore)
public func fuzzXenstore(_ bytes: UnsafePointer<UInt8>?, _ count: Int) {
  let input = unsafe Input(bytes, count)
  guard count > 0 else { return }
  let conversation = Scratch.conversation(input.span.extracting(1..<count))
  var xenstore = XenstoreConnection.over(conversation.client)
  // Nothing is ever waited for: what comes has come, then the end. Were it otherwise, libFuzzer would
  // see it. A deadline would pass when others have the processor.
  xenstore.deadline = Deadline(timeoutMilliseconds: .max)
  do throws(XenstoreError) {
    try ask(&xenstore, input.span.byte(at: 0))
  } catch {
    if case .deadline = error { finding("it has waited for what cannot come") }
  }
  _ = consume conversation
}

private func ask(
  _ xenstore: inout XenstoreConnection, _ question: UInt8
) throws(XenstoreError) {
  let path = SystemPath(word: "/local/domain/5/stubsave")
  switch question % 8 {
  case 0: require(try xenstore.read(path).count <= XenstoreWire.maxPayloadBytes, "too long")
  case 1:
    for name in try xenstore.directory(path) {
      require(!name.isEmpty && !name.contains(0), "no name")
    }
  case 2:
    try xenstore.watch(path, token: 7)
    _ = try xenstore.takeEvents()
    _ = try xenstore.nextEvent()
  case 3:
    try xenstore.change { xenstore, transaction throws(XenstoreError) in
      require(transaction > 0, "no transaction")
      _ = try xenstore.read(path, in: transaction)
      return [.makeDirectory(path), .write(path, [0x31]), .remove(path)]
    }
  case 4: _ = try xenstore.isIntroduced(domid: 5)
  case 5:
    for _ in 0..<4 { _ = try xenstore.read(path) }
  case 6:
    while try xenstore.nextEvent() != nil {}
  default:
    // Names that one message does not hold.
    _ = try xenstore.directory(path)
    _ = try xenstore.takeEvents()
  }
}
