import Glibc
import SaveDisk
import TestSupport

/// The header. One that passes is, written again, the same bytes: nothing in it is not looked at.
@c(stubsave_fuzz_header)
public func fuzzHeader(_ bytes: UnsafePointer<UInt8>?, _ count: Int) {
  let input = unsafe Input(bytes, count)
  do throws(DiskError) {
    let parsed = try DiskHeader.parse(input.span)
    var block = [UInt8](repeating: 0, count: Layout.blockBytes)
    var span = block.mutableSpan
    var target = unsafe span.mutableBytes
    require(parsed.header.encode(into: &target) == parsed.hash, "another hash")
    // A loop in instrumented code would take most of the time.
    let isSame = unsafe input.span.withUnsafeBytes { original in
      unsafe block.withUnsafeBytes {
        unsafe memcmp($0.baseAddress!, original.baseAddress!, Layout.blockBytes) == 0
      }
    }
    require(isSame, "another header")
  } catch {
    check(error, inputBytes: input.count)
  }
}

/// What holds of every verdict that is not good.
func check(_ error: DiskError, inputBytes: Int) {
  require(error.verdict != .good, "an error that is none")
  require(error.offset <= UInt64(inputBytes), "an offset behind the input")
  var text = PlainText()
  error.describe(into: &text)
  require(!text.bytes.isEmpty && text.bytes.count < 400, "a text of \(text.bytes.count) bytes")
  require(text.bytes.allSatisfy { $0 >= 0x20 && $0 < 0x7F }, "a text that is not plain")
}

/// Magic and hash made right, most of the time.
@c(stubsave_mutate_header)
public func mutateHeader(
  _ bytes: UnsafeMutablePointer<UInt8>, _ count: Int, _ room: Int, _ seed: UInt32
) -> Int {
  var generator = SeededGenerator(seed: UInt64(seed))
  var disk = unsafe load(bytes, count)
  if generator.next() % 8 != 0 { resize(&disk, to: Layout.blockBytes) }
  Mutation.changeField(of: &disk, FormatField.header, at: 0, &generator)
  if generator.next() % 16 != 0 { Mending.header(&disk) }
  return unsafe store(disk, bytes, room)
}

func resize(_ bytes: inout [UInt8], to count: Int) {
  if bytes.count > count { bytes.removeLast(bytes.count - count) }
  if bytes.count < count { bytes += [UInt8](repeating: 0, count: count - bytes.count) }
}
