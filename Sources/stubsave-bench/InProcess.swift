import Codecs
import Foundation
import SaveDisk
import SystemIO
import Transfer

/// The writing half in this process, against QEMU writing straight to the same place with fsync.
struct InProcess {
  private let machine: BenchMachine
  private let workplace: Workplace
  private let runs: Int

  private static let capacityBytes: UInt64 = 4 << 20

  init(_ machine: BenchMachine, _ workplace: Workplace, runs: Int) {
    self.machine = machine
    self.workplace = workplace
    self.runs = runs
  }

  func measure() throws {
    let backing = try FileDescriptor.inMemory()
    try backing.truncate(to: Self.capacityBytes)
    let loop = try LoopDevice(backing: backing)
    try measure("loop device", loop.path)
    let file = workplace.name("disk")
    try Data().write(to: URL(fileURLWithPath: file))
    try measure("tmpfs", try workplace.path("disk"))
  }

  private func measure(_ place: String, _ path: SystemPath) throws {
    let source = try FileDescriptor.inMemory()
    let state = machine.state
    try unsafe source.writeAll(state.span.bytes)
    let target = try FileDescriptor.open(path, .readWrite)
    let pairs = try Pairs(
      runs: runs, prepare: { try Self.allocate(target) },
      {
        try source.rewind()
        _ = try DiskFilling.fill(target, from: source)
      },
      {
        try machine.save(to: path)
        try target.flush()
      })
    print(Row.line("write in process : QEMU straight + fsync, \(place)", pairs))
    let whole = try Pairs(
      runs: runs, prepare: { try Self.allocate(target) },
      {
        let sink = try BoundedFile(maxBytes: 64 << 20)
        try machine.save(to: sink)
        _ = try DiskFilling.fill(target, from: sink.reader)
        let output = DoorOutput(try FileDescriptor.inMemory())
        let verdict = Door.open(
          target, task: .extract(.qemu), options: ReadOptions(), output: output)
        guard verdict.failure == nil else { throw BenchError("not read back: \(verdict)") }
      },
      {
        try machine.save(to: path)
        try target.flush()
      })
    print(Row.line("QEMU to memory, write, read, verify : same, \(place)", whole))
  }

  /// Makes `target` an empty disk of a new transfer again.
  private static func allocate(_ target: borrowing FileDescriptor) throws {
    if try target.status().kind == .regular {
      try target.truncate(to: 0)
      try target.truncate(to: capacityBytes)
    }
    var header = DiskHeader()
    let (first, last) = try Randomness.words()
    header.transferID = Bytes16(first: first, last: last)
    header.capacityBytes = capacityBytes
    header.chunkBytes = 262_144
    var blocks = AlignedBuffer(byteCount: 2 * Layout.blockBytes)
    var bytes = blocks.mutableBytes(0..<2 * Layout.blockBytes)
    bytes.zero(from: 0, count: bytes.byteCount)
    header.encode(into: &bytes)
    try target.writeAll(blocks.bytes(0..<2 * Layout.blockBytes), at: 0)
    try target.flush()
  }
}
