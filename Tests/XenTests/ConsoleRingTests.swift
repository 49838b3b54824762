import Testing

@testable import Xen

// Invariants:
// - every byte that a domain writes into its console's ring is taken once, in order, also where ring and
//   index wrap, however much of it there is at a time;
// - whatever the domain writes into its page, no more than the ring is taken at once, and what is taken is
//   told in `out_cons` alone.

/// A page as a domain has it (xen/io/console.h).
@safe private final class Page {
  let memory = UnsafeMutableRawBufferPointer.allocate(byteCount: 4096, alignment: 4096)

  init() { unsafe memory.initializeMemory(as: UInt8.self, repeating: 0) }
  deinit { unsafe memory.deallocate() }

  static let out = 1024
  static let outBytes: UInt32 = 2048

  private func word(_ index: Int) -> UInt32 {
    unsafe memory.load(fromByteOffset: 3072 + 4 * index, as: UInt32.self)
  }

  var taken: UInt32 { word(2) }

  var produced: UInt32 {
    get { word(3) }
    set { unsafe memory.storeBytes(of: newValue, toByteOffset: 3072 + 12, as: UInt32.self) }
  }

  func setTaken(_ value: UInt32) {
    unsafe memory.storeBytes(of: value, toByteOffset: 3072 + 8, as: UInt32.self)
  }

  /// As a kernel does: as much as there is room for.
  func write(_ bytes: ArraySlice<UInt8>) -> Int {
    let room = Self.outBytes - (produced &- taken)
    let count = min(Int(room), bytes.count)
    for (index, byte) in bytes.prefix(count).enumerated() {
      let place = Int((produced &+ UInt32(index)) % Self.outBytes)
      unsafe memory[Self.out + place] = byte
    }
    produced &+= UInt32(count)
    return count
  }

  func ring() -> ConsoleRing {
    unsafe ConsoleRing(page: memory.baseAddress!)
  }

  /// All but the ring and its two indices.
  var rest: [UInt8] { unsafe [UInt8](memory[..<Self.out]) + [UInt8](memory[3088...]) }
}

@Suite struct ConsoleRingTests {
  @Test(arguments: [UInt32(0), 1, 2047, 2048, UInt32.max - 5000, .max])
  func `every byte once`(start: UInt32) throws {
    let page = Page()
    page.setTaken(start)
    page.produced = start
    var ring = page.ring()
    let sent = (0..<200_000).map { UInt8(truncatingIfNeeded: $0 &* 31 &+ $0 >> 8) }
    var received: [UInt8] = []
    var position = 0
    var size = 1
    while position < sent.count {
      position += page.write(sent[position..<min(position + size, sent.count)])
      size = size * 7 % 2999 + 1
      let piece = ring.take()
      received += try #require(piece)
      #expect(page.taken == page.produced)
    }
    let rest = ring.take()
    #expect(rest == [] && received == sent)
  }

  @Test func `what was there before is not taken again`() {
    let page = Page()
    #expect(page.write([1, 2, 3]) == 3)
    page.setTaken(2)
    var ring = page.ring()
    let bytes = ring.take()
    #expect(bytes == [3])
  }

  @Test(arguments: [UInt32(2049), 4096, 1 << 31, .max])
  func `an index that cannot be`(ahead: UInt32) {
    let page = Page()
    var ring = page.ring()
    page.produced = ahead
    let impossible = ring.take()
    #expect(impossible == nil)
    // It goes on from there.
    #expect(page.taken == ahead)
    let nothing = ring.take()
    #expect(nothing == [])
    #expect(page.write([7, 8]) == 2)
    let bytes = ring.take()
    #expect(bytes == [7, 8])
  }

  /// The domain changes what only dom0 may, and everything else, at any time.
  @Test func `a page of noise`() {
    let page = Page()
    var ring = page.ring()
    var random = SystemRandomNumberGenerator()
    for _ in 0..<20_000 {
      for offset in stride(from: 0, to: 4096, by: 512) {
        unsafe page.memory.storeBytes(
          of: random.next(), toByteOffset: offset, as: UInt64.self)
      }
      page.setTaken(UInt32.random(in: 0...UInt32.max))
      page.produced = Bool.random() ? page.produced &+ UInt32.random(in: 0...3000) : random.next()
      let rest = page.rest
      let produced = page.produced
      let bytes = ring.take()
      #expect((bytes?.count ?? 0) <= ConsoleRing.maxBytes)
      #expect(page.taken == produced && page.produced == produced && page.rest == rest)
    }
  }
}
