import Codecs
import SaveDisk
import Testing

/// Disks that exhaustive tests damage in every way, with the state that is on them.
public struct SmallDisk: Sendable, CustomTestStringConvertible {
  public let testDescription: String
  public let bytes: [UInt8]
  public let state: [UInt8]

  /// Short states, so that every bit can be flipped: LZ4 with several streams; zlib, restore,
  /// allocated with room behind it; stored as it is, with a zero chunk and a full one.
  public static func all() throws -> [SmallDisk] {
    var generator = SeededGenerator(seed: 11)
    let text = [UInt8](String(repeating: "register 0x00 ", count: 40).utf8)
    var allocated = testHeader(seed: 2, capacityBytes: 16_384)
    allocated.direction = .restore
    allocated.recipientDomid = 5
    allocated.targetDomid = 4
    allocated.targetUUID = Bytes16(first: 1, last: 2)
    let mixed = [UInt8](repeating: 0, count: 65_536) + generator.bytes(700)
    return [
      SmallDisk(
        testDescription: "lz4, three streams",
        bytes: try makeDisk([
          (.qemu, text), (.metadata, [UInt8]("QEMU 7.2.22".utf8)), (StreamName("tpm"), []),
        ]), state: text),
      SmallDisk(
        testDescription: "zlib, allocated",
        bytes: try makeDisk(text, header: allocated, setting: .zlib)
          + [UInt8](repeating: 0, count: 16_384 - 8192), state: text),
      SmallDisk(
        testDescription: "zeros and none",
        bytes: try makeDisk(mixed, header: testHeader(seed: 3), setting: .none), state: mixed),
    ]
  }
}
