/// Memory for input and output, aligned to 4096 bytes as O_DIRECT wants it, owned.
///
/// Pages that are never touched take no memory.
@safe public struct AlignedBuffer: ~Copyable {
  private let storage: UnsafeMutableRawBufferPointer

  /// - Parameter byteCount: more than 0; bounded by the caller before.
  public init(byteCount: Int) {
    precondition(byteCount > 0)
    unsafe storage = .allocate(byteCount: byteCount, alignment: 4096)
  }

  deinit { unsafe storage.deallocate() }

  public var byteCount: Int { unsafe storage.count }

  /// The bytes of `range`.
  @_lifetime(borrow self)
  public borrowing func bytes(_ range: Range<Int>) -> RawSpan {
    let span = unsafe RawSpan(_unsafeBytes: UnsafeRawBufferPointer(storage)).extracting(range)
    return unsafe _overrideLifetime(span, borrowing: self)
  }

  /// A copy of the bytes of `range`.
  public borrowing func array(_ range: Range<Int>) -> [UInt8] {
    unsafe bytes(range).withUnsafeBytes { unsafe [UInt8]($0) }
  }

  /// The bytes of `range`, to be changed.
  @_lifetime(&self)
  public mutating func mutableBytes(_ range: Range<Int>) -> MutableRawSpan {
    let span = unsafe MutableRawSpan(
      _unsafeBytes: UnsafeMutableRawBufferPointer(rebasing: storage[range]))
    return unsafe _overrideLifetime(span, mutating: &self)
  }

  /// Moves the bytes of `range` to the front.
  public mutating func moveToFront(_ range: Range<Int>) { move(range, to: 0) }

  /// Moves the bytes of `range` to `start`; the two may overlap.
  public mutating func move(_ range: Range<Int>, to start: Int) {
    precondition(range.lowerBound >= 0 && range.upperBound <= byteCount)
    precondition(start >= 0 && start <= byteCount - range.count)
    if range.isEmpty || range.lowerBound == start { return }
    unsafe UnsafeMutableRawBufferPointer(rebasing: storage[start..<start + range.count])
      .copyMemory(from: UnsafeRawBufferPointer(rebasing: storage[range]))
  }
}
