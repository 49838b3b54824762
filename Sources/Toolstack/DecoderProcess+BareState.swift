import QEMUState
import SaveDisk
import SystemIO
import Transfer

extension DecoderProcess {
  /// A bare state whose end is a trailer would be taken for a state file of dom0's: the stubdomain
  /// would have written what dom0 is said to know of it. QEMU writes no such thing.
  ///
  /// - Parameter file: private to this process.
  static func requireNoTrailer(
    of file: borrowing FileDescriptor, _ path: SystemPath, bytes: UInt64, limits: ReaderLimits
  ) throws(ToolError) {
    // That there is one is enough: no decompressor is run.
    var reading = ReadOptions()
    reading.acceptedCodecs = .always
    reading.limits = limits
    let (finding, _, _) = try look(
      at: file, path, bytes: bytes, options: reading, listsSections: false)
    switch finding {
    case .none: return
    case .unreadable(let error): throw ToolError(error, path)
    case .failed(let error) where error.verdict == .corrupt && error.field == .end:
      // No trailer, but too many zeros: whoever restores it will not take it either.
      throw ToolError(.disk(error), path)
    case .good, .failed:
      throw ToolError(.corrupt, path) {
        $0.append("the state ends in a trailer, which only dom0 writes and QEMU never does; ")
        $0.append("with --format state dom0's own is put behind it")
      }
    }
  }
}
