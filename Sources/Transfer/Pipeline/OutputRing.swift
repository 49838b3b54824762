import SaveDisk
import SystemIO

#if !hasFeature(Embedded)

  /// Bytes of the disk on their way from the thread that makes them to the one that writes them, in
  /// large pieces of whole blocks, aligned in memory as on the disk (as O_DIRECT wants them).
  ///
  /// Records are built where they are written from. A place belongs to one thread at a time; the
  /// semaphores hand it over, and with it what was written into it.
  @safe final class OutputRing: @unchecked Sendable {
    /// One that is being written, one that is being filled, and what evens out their pace.
    static let placeCount = 6
    /// A call costs little beside so many bytes.
    private static let leastPlaceBytes = 1 << 20

    private struct Place {
      var count = 0
      /// Where it belongs on the disk.
      var offset: UInt64 = 0
      var error: SystemError?
    }

    private let placeBytes: Int
    private let memory: UnsafeMutableRawBufferPointer
    private let places: UnsafeMutablePointer<Place>
    private let free = Semaphore(placeCount - 1)
    private let full = Semaphore()
    // Of the thread that fills.
    private var filling = 0
    private var filled = 0
    private var offset: UInt64

    /// - Parameters:
    ///   - offset: on the disk, of the first byte; a multiple of 4096.
    ///   - recordBytes: of the longest record.
    init(at offset: UInt64, recordBytes: Int) {
      self.offset = offset
      let records = max(Self.leastPlaceBytes / recordBytes, 1) * recordBytes
      // What does not fill a block moves on with the next place.
      placeBytes = Layout.aligned(records + Layout.blockBytes, to: Layout.blockBytes)
      unsafe memory = .allocate(
        byteCount: Self.placeCount * placeBytes, alignment: Layout.blockBytes)
      unsafe places = .allocate(capacity: Self.placeCount)
      unsafe places.initialize(repeating: Place(), count: Self.placeCount)
    }

    deinit {
      unsafe places.deallocate()
      unsafe memory.deallocate()
    }

    /// Full places that nobody has begun to write: the disk is that far behind.
    var backlog: Int { full.count }

    /// Makes room for `count` bytes in one piece; waits for the disk if need be.
    func makeRoom(_ count: Int) throws(SystemError) {
      precondition(count <= placeBytes - Layout.blockBytes)
      if placeBytes - filled >= count { return }
      free.wait()
      let next = (filling + 1) % Self.placeCount
      if let error = unsafe places[next].error { throw error }
      let whole = filled & ~(Layout.blockBytes - 1)
      let start = filling * placeBytes
      unsafe UnsafeMutableRawBufferPointer(rebasing: memory[(next * placeBytes)...]).copyMemory(
        from: UnsafeRawBufferPointer(rebasing: memory[(start + whole)..<(start + filled)]))
      unsafe places[filling].count = whole
      unsafe places[filling].offset = offset
      full.post()
      offset += UInt64(whole)
      filled -= whole
      filling = next
    }

    /// What there is room for behind the bytes that are there; they count once `advance` is told.
    func withRoom<R, E: Error>(_ body: (inout MutableRawSpan) throws(E) -> R) throws(E) -> R {
      let start = filling * placeBytes
      var room = unsafe MutableRawSpan(
        _unsafeBytes: UnsafeMutableRawBufferPointer(
          rebasing: memory[(start + filled)..<(start + placeBytes)]))
      return try body(&room)
    }

    func advance(by count: Int) { filled += count }

    /// No more bytes come; what has not been handed over stays for `rest`.
    func close() {
      unsafe places[filling].count = 0
      full.post()
    }

    /// Hands each full place to `write` until the ring is closed. After an error nothing more is
    /// written, and who fills is told.
    func drain(_ write: (RawSpan, UInt64) -> SystemError?) {
      var error: SystemError?
      var index = 0
      while true {
        full.wait()
        let place = unsafe places[index]
        if place.count == 0 {
          unsafe places[index].error = error
          return
        }
        let start = index * placeBytes
        let bytes = unsafe RawSpan(
          _unsafeBytes: UnsafeRawBufferPointer(rebasing: memory[start..<(start + place.count)]))
        if error == nil { error = write(bytes, place.offset) }
        unsafe places[index].error = error
        free.post()
        index = (index + 1) % Self.placeCount
      }
    }

    /// After the thread that writes has ended: its error.
    var error: SystemError? { unsafe places[filling].error }

    /// After that: what has not been written, and where it belongs.
    func rest<E: Error>(_ body: (RawSpan, UInt64) throws(E) -> Void) throws(E) {
      let start = filling * placeBytes
      let bytes = unsafe RawSpan(
        _unsafeBytes: UnsafeRawBufferPointer(rebasing: memory[start..<(start + filled)]))
      try body(bytes, offset)
    }
  }

#endif
