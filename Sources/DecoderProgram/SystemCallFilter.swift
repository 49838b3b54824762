import CSeccomp
import Decoding
import SystemIO

/// What the decoder may still ask of the kernel once it looks at the input: to read that, to write
/// its output and answer, for anonymous memory, and to end. Anything else ends it at once
/// (seccomp(2)).
enum SystemCallFilter {
  private static let kill: UInt32 = 0x8000_0000  // SCMP_ACT_KILL_PROCESS
  private static let allow: UInt32 = 0x7FFF_0000  // SCMP_ACT_ALLOW
  /// linux/mman.h and asm-generic/mman-common.h.
  private static let executable: UInt64 = 4
  private static let anonymous: UInt64 = 0x20

  /// A condition on one argument: masked, it has a value.
  private struct Argument {
    let index: UInt32
    let mask: UInt64
    let value: UInt64

    init(_ index: UInt32, is value: UInt64, masked mask: UInt64 = .max) {
      self.index = index
      self.mask = mask
      self.value = value
    }
  }

  /// - Returns: false if the kernel has no such filters.
  static func load() -> Bool {
    if Isolation.isSanitized { return true }
    guard let filter = unsafe seccomp_init(kill) else { return false }
    defer { unsafe seccomp_release(filter) }
    typealias File = DecodeRequest.File
    var isComplete = true
    for file in [File.input, File.output, File.overflow] {
      let argument = [Argument(0, is: UInt64(file))]
      // The output is read where it moves to the overflow.
      isComplete = unsafe permit("pread64", argument, in: filter) && isComplete
    }
    let input = [Argument(0, is: UInt64(File.input))]
    isComplete = unsafe permit("read", input, in: filter) && isComplete
    for file in [File.output, File.overflow, File.answer] {
      let argument = [Argument(0, is: UInt64(file))]
      isComplete = unsafe permit("write", argument, in: filter) && isComplete
    }
    let memory = [
      Argument(2, is: 0, masked: executable), Argument(3, is: anonymous, masked: anonymous),
    ]
    isComplete = unsafe permit("mmap", memory, in: filter) && isComplete
    for name in ["munmap", "mremap", "brk", "exit", "exit_group"] as [StaticString] {
      isComplete = unsafe permit(name, [], in: filter) && isComplete
    }
    return isComplete && (unsafe seccomp_load(filter)) == 0
  }

  private static func permit(
    _ name: StaticString, _ arguments: [Argument], in filter: scmp_filter_ctx
  ) -> Bool {
    let number = name.withUTF8Buffer { buffer in
      unsafe seccomp_syscall_resolve_name(
        UnsafeRawPointer(buffer.baseAddress!).assumingMemoryBound(to: CChar.self))
    }
    let conditions = arguments.map {
      scmp_arg_cmp(arg: $0.index, op: SCMP_CMP_MASKED_EQ, datum_a: $0.mask, datum_b: $0.value)
    }
    return unsafe conditions.withUnsafeBufferPointer {
      unsafe seccomp_rule_add_array(
        filter, allow, number, UInt32($0.count), $0.baseAddress)
    } == 0
  }
}
