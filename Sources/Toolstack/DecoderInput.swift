import SaveDisk
import SystemIO
import Transfer

/// What the decoder's process gets to read: through nothing of it can be written, and of a pipe
/// nobody else can set a flag under it. That process waits for nothing but by reading.
struct DecoderInput: ~Copyable {
  /// The decoder's open file.
  let number: Int32
  /// Opened anew for it.
  private let file: FileDescriptor?
  /// What brings it the bytes of something that cannot be opened anew.
  private var pump: StreamPump?

  static func make(
    of input: borrowing FileDescriptor, _ shape: InputShape
  ) throws(SystemError) -> DecoderInput {
    let flags = try input.flags()
    // What it is, the decoder's first read tells.
    guard flags.canRead else { return DecoderInput(number: input.number) }
    if shape.kind == .stream {
      // Opened here, by a path.
      if !flags.canWrite && !InheritedDescriptor.isOpen(input.number) {
        return DecoderInput(number: input.number)
      }
      // A terminal's other end would become a new one.
      if try input.status().kind == .fifo,
        let file = try? input.reopenedForReading(isDirect: false)
      {
        return DecoderInput(opened: file)
      }
      return DecoderInput(pump: try StreamPump(from: input))
    }
    // What a stubdomain writes goes past dom0's page cache; that wants whole sectors.
    let isDirect =
      shape.kind == .blockDevice && shape.start % UInt64(Layout.blockBytes) == 0
    if flags.canWrite || flags.isDirect != isDirect,
      let file = try? input.reopenedForReading(isDirect: isDirect)
    {
      return DecoderInput(opened: file)
    }
    // Without /proc: the filter lets nothing be written to it.
    return DecoderInput(number: input.number)
  }

  private init(number: Int32) {
    self.number = number
    file = nil
    pump = nil
  }

  private init(opened file: consuming FileDescriptor) {
    number = file.number
    self.file = consume file
    pump = nil
  }

  private init(pump: consuming StreamPump) {
    number = pump.readerNumber
    file = nil
    self.pump = consume pump
  }

  mutating func takePump() -> StreamPump? { pump.take() }
}
