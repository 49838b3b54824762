import SaveDisk
import SystemIO

@testable import QEMUMonitor

/// A QEMU that says these bytes and ends, whatever it is asked.
@c(stubsave_fuzz_monitor)
public func fuzzMonitor(_ bytes: UnsafePointer<UInt8>?, _ count: Int) {
  let input = unsafe Input(bytes, count)
  let conversation = Scratch.conversation(input.span)
  // Nothing is ever waited for: what comes has come, then the end. Were it otherwise, libFuzzer would
  // see it. A deadline would pass when others have the processor.
  let deadline = Deadline(timeoutMilliseconds: .max)
  do throws(MonitorError) {
    var monitor = try Monitor.greeted(
      UnixSocket(FileDescriptor(owning: conversation.client)), deadline: deadline)
    require(monitor.version.bytes.allSatisfy { $0 >= 0x20 && $0 < 0x7F }, "a version not plain")
    _ = try monitor.execute("query-status")
    for _ in 0..<3 { try monitor.takeEvents() }
  } catch {
    var text = PlainText()
    text.append(error)
    require(text.bytes.allSatisfy { $0 >= 0x20 && $0 < 0x7F }, "a text that is not plain")
    if case .deadline = error { finding("it has waited for what cannot come") }
  }
  _ = consume conversation
}
