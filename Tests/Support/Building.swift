import Codecs
import SaveDisk
import SystemIO
import Transfer

/// A header for tests: chunks of 64 KiB, a transfer id made from `seed`.
public func testHeader(seed: UInt64 = 1, capacityBytes: UInt64 = 0) -> DiskHeader {
  var header = DiskHeader()
  header.transferID = Bytes16(first: seed &* 0x0123_4567_89AB_CDEF | 1, last: ~seed)
  header.capacityBytes = capacityBytes
  return header
}

/// The save disk that the ordinary writer makes of named streams, as an archive.
public func makeDisk(
  _ streams: [(name: StreamName, bytes: [UInt8])], header: DiskHeader = testHeader(),
  setting: CodecSetting = .auto
) throws -> [UInt8] {
  let file = try MemoryFile()
  var writer = DiskWriter(
    header: DiskHeader.Parsed(new: header),
    store: FileStore(FileDescriptor(borrowing: file.descriptor.number)), setting: setting,
    writesHeader: true)
  for stream in streams {
    try writer.beginStream(stream.name)
    try writer.write(stream.bytes.rawSpan)
    try writer.endStream()
  }
  _ = try writer.commit()
  return try file.contents()
}

/// The same with one stream `qemu`.
public func makeDisk(
  _ state: [UInt8], header: DiskHeader = testHeader(), setting: CodecSetting = .auto
) throws -> [UInt8] {
  try makeDisk([(.qemu, state)], header: header, setting: setting)
}
