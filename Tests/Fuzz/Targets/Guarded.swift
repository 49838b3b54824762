import Glibc

/// Memory whose last byte lies before a page that nobody may touch: what a library that is not
/// instrumented reads or writes behind the end is seen too.
@safe struct Guarded {
  private let end: UnsafeMutableRawPointer
  private let room: Int

  init(byteCount: Int) {
    let page = 4096
    room = (byteCount + page - 1) / page * page
    let flags = MAP_PRIVATE | MAP_ANONYMOUS
    let memory = unsafe mmap(nil, room + page, PROT_READ | PROT_WRITE, flags, -1, 0)
    guard let start = unsafe memory, unsafe start != MAP_FAILED,
      unsafe mprotect(start + room, page, PROT_NONE) == 0
    else { finding("no memory") }
    unsafe end = start + room
  }

  /// The last `count` bytes.
  func last(_ count: Int) -> UnsafeMutableRawBufferPointer {
    precondition(count >= 0 && count <= room)
    return unsafe UnsafeMutableRawBufferPointer(start: end - count, count: count)
  }
}
