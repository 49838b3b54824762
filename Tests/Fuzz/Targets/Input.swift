/// What libFuzzer gives, as the code under test gets it: memory of exactly that length, so that
/// AddressSanitizer sees a read behind it.
@safe struct Input: ~Copyable {
  private let storage: UnsafeMutableRawBufferPointer

  @unsafe init(_ bytes: UnsafePointer<UInt8>?, _ count: Int) {
    unsafe storage = .allocate(byteCount: count, alignment: 1)
    if let bytes = unsafe bytes {
      unsafe storage.copyMemory(from: UnsafeRawBufferPointer(start: bytes, count: count))
    }
  }

  deinit { unsafe storage.deallocate() }

  var count: Int { unsafe storage.count }

  var span: RawSpan {
    @_lifetime(borrow self)
    borrowing get {
      let span = unsafe RawSpan(_unsafeBytes: UnsafeRawBufferPointer(storage))
      return unsafe _overrideLifetime(span, borrowing: self)
    }
  }

  var array: [UInt8] { unsafe [UInt8](storage) }
}

/// Ends the run with a finding.
func finding(_ text: String) -> Never { fatalError(text) }

func require(_ condition: Bool, _ text: @autoclosure () -> String) {
  if !condition { finding(text()) }
}

/// Puts a mutated input back where libFuzzer has it.
@unsafe func store(
  _ bytes: [UInt8], _ target: UnsafeMutablePointer<UInt8>, _ room: Int
) -> Int {
  let count = min(bytes.count, room)
  unsafe bytes.withUnsafeBytes {
    unsafe UnsafeMutableRawBufferPointer(start: target, count: count)
      .copyMemory(from: UnsafeRawBufferPointer(rebasing: $0[..<count]))
  }
  return count
}

@unsafe func load(_ bytes: UnsafePointer<UInt8>, _ count: Int) -> [UInt8] {
  unsafe [UInt8](UnsafeBufferPointer(start: bytes, count: count))
}
