// Invariants:
// - for every codec and chunk size, what is read is what was written, at every length around a
//   chunk's; the records show that codec, `none` or `zeros`, and nothing else.
//
// Device states are in ReplayTests, which writes all that the fixtures hold.

import Foundation
import Testing

@Suite(.fewAtOnce, .timeLimit(.minutes(5)))
struct RoundTripTests {
  let bench: Workbench
  init() throws { bench = try Workbench() }

  static let chunkSizes = ["64KiB", "128KiB", "256KiB", "512KiB", "1MiB"]

  @Test(arguments: ["none", "lz4", "zlib", "auto"], chunkSizes)
  func everyCodecAndChunkSize(codec: String, chunkSize: String) async throws {
    let size = try #require(
      ["64KiB": 65_536, "128KiB": 131_072, "256KiB": 262_144, "512KiB": 524_288, "1MiB": 1 << 20][
        chunkSize])
    let state = States.mixed(3 * size + 5000)
    try await bench.stubsave(
      "write", "disk", "--codec", codec, "--chunk-size", chunkSize, input: .bytes(state))
    let found = try await bench.stubsave("inspect", "--json", "disk").json(InspectionJSON.self)
    #expect(found.header?.chunkBytes == size)
    let chunks = found.records.filter { $0.type == "chunk" }
    #expect(chunks.map(\.rawBytes) == [size, size, size, 5000])
    let asked = codec == "auto" ? "lz4" : codec
    #expect(Set(["none", "zeros", asked]).isSuperset(of: chunks.compactMap(\.codec)))
    #expect(chunks.contains { $0.codec == asked })
    let read = try await bench.stubsave("read", "disk", isText: false)
    expectSame(read.output, state)
  }

  @Test func zerosAreNotStored() async throws {
    let written = try await bench.stubsave(
      "write", "disk", "--codec", "none", "--json", input: .bytes(Data(count: 1_000_000))
    ).json(WrittenJSON.self)
    #expect(written.rawBytes == 1_000_000)
    #expect(written.storedBytes == 0)
    #expect(written.diskBytes == 8192)
    let read = try await bench.stubsave("read", "disk", isText: false)
    expectSame(read.output, Data(count: 1_000_000))
  }

  @Test func theCodecsOfAnAllocatedDisk() async throws {
    for codec in ["none", "lz4", "zlib"] {
      try await bench.stubsave("allocate", codec)
      try await bench.stubsave("write", codec, "--codec", codec, input: .file(States.real))
      let found = try await bench.stubsave("inspect", "--json", codec).json(InspectionJSON.self)
      #expect(Set(found.records.compactMap(\.codec)) == [codec])
    }
  }
}
