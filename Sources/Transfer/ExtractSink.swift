import SaveDisk
import SystemIO

/// Writes the raw bytes of one stream out as they come.
struct ExtractSink: LogSink {
  private let name: StreamName
  private var writer: DoorWriter
  private var isOpen = false

  init(name: StreamName, output: borrowing DoorOutput) {
    self.name = name
    self.writer = DoorWriter(output)
  }

  var position: OutputPosition { writer.position }

  mutating func streamBegan(_ record: PlacedRecord, name: StreamName, flags: StreamFlags) {
    isOpen = name == self.name
  }

  mutating func chunk(_ record: PlacedRecord, raw: RawSpan) throws(SystemError) {
    if isOpen { try writer.write(raw) }
  }
}

/// Writes the state out, and keeps what its writer has said of it.
struct CarrySink: LogSink {
  private var state: ExtractSink
  private var metadata = KeptMetadata()

  init(output: borrowing DoorOutput) { state = ExtractSink(name: .qemu, output: output) }

  var position: OutputPosition { state.position }
  var metadataBytes: [UInt8] { metadata.bytes }

  mutating func streamBegan(_ record: PlacedRecord, name: StreamName, flags: StreamFlags) {
    state.streamBegan(record, name: name, flags: flags)
    metadata.streamBegan(name)
  }

  mutating func chunk(_ record: PlacedRecord, raw: RawSpan) throws(SystemError) {
    try state.chunk(record, raw: raw)
    metadata.chunk(raw)
  }
}
