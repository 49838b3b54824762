import SaveDisk
import SystemIO

#if !hasFeature(Embedded)

  /// Bytes of the disk on their way from those who make them, in order and one at a time, to the one
  /// who writes them, in large aligned pieces.
  ///
  /// A place of the ring belongs to one side at a time; the semaphores hand it over, and with it what
  /// was written into it.
  @safe final class OutputRing: @unchecked Sendable {
    /// Large enough that a call costs nothing beside it, also with O_DIRECT.
    static let placeBytes = 1 << 20
    /// One that is being written, one that is being filled, and what evens out their pace.
    static let placeCount = 6

    private struct Place {
      var count = 0
      /// Where it belongs on the disk.
      var offset: UInt64 = 0
      var error: SystemError?
    }

    private let memory: UnsafeMutableRawBufferPointer
    private let places: UnsafeMutablePointer<Place>
    private let free = Semaphore(placeCount)
    private let full = Semaphore()
    // Those who fill.
    private var filling = 0
    private var filled = 0
    private var isFillingPlace = false
    private var offset: UInt64

    /// - Parameter offset: on the disk, of the first byte; a multiple of 4096.
    init(at offset: UInt64) {
      self.offset = offset
      unsafe memory = .allocate(
        byteCount: Self.placeCount * Self.placeBytes, alignment: Layout.blockBytes)
      unsafe places = .allocate(capacity: Self.placeCount)
      unsafe places.initialize(repeating: Place(), count: Self.placeCount)
    }

    deinit {
      unsafe places.deallocate()
      unsafe memory.deallocate()
    }

    /// Full places that nobody has begun to write: the disk is that far behind.
    var backlog: Int { full.count }

    /// Puts bytes behind those before; waits for the disk if there is no room.
    func append(_ bytes: RawSpan) throws(SystemError) {
      var done = 0
      while done < bytes.byteCount {
        if !isFillingPlace {
          free.wait()
          isFillingPlace = true
          if let error = unsafe places[filling].error { throw error }
        }
        let count = min(Self.placeBytes - filled, bytes.byteCount - done)
        let start = filling * Self.placeBytes + filled
        unsafe bytes.extracting(done..<(done + count)).withUnsafeBytes { source in
          unsafe UnsafeMutableRawBufferPointer(rebasing: memory[start..<(start + count)])
            .copyMemory(from: source)
        }
        done += count
        filled += count
        if filled == Self.placeBytes { handOver() }
      }
    }

    private func handOver() {
      unsafe places[filling].count = filled
      unsafe places[filling].offset = offset
      offset += UInt64(filled)
      filled = 0
      filling = (filling + 1) % Self.placeCount
      isFillingPlace = false
      full.post()
    }

    /// No more bytes come; what does not fill a place stays for `rest`.
    func close() {
      if !isFillingPlace { free.wait() }
      isFillingPlace = true
      unsafe places[filling].count = 0
      full.post()
    }

    /// Hands each full place to `write` until the ring is closed. After an error nothing more is
    /// written, and those who fill are told.
    ///
    /// - Returns: the error.
    func drain(_ write: (RawSpan, UInt64) -> SystemError?) -> SystemError? {
      var error: SystemError?
      var index = 0
      while true {
        full.wait()
        let place = unsafe places[index]
        if place.count == 0 { return error }
        let start = index * Self.placeBytes
        let bytes = unsafe RawSpan(
          _unsafeBytes: UnsafeRawBufferPointer(rebasing: memory[start..<(start + place.count)]))
        if error == nil { error = write(bytes, place.offset) }
        unsafe places[index].error = error
        free.post()
        index = (index + 1) % Self.placeCount
      }
    }

    /// After all threads have ended: what is left, and where it belongs.
    func rest(_ body: (RawSpan, UInt64) -> Void) {
      let start = filling * Self.placeBytes
      let bytes = unsafe RawSpan(
        _unsafeBytes: UnsafeRawBufferPointer(rebasing: memory[start..<(start + filled)]))
      body(bytes, offset)
    }
  }

#endif
