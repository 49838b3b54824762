// Invariants:
// - an allocated disk is a file of exactly the size asked for, 0600, with its space reserved, and
//   all zeros behind its header; the header says what was asked for, under a new transfer id;
// - a file that exists stays as it is, unless --force replaces it;
// - whatever fails leaves nothing behind.

import Foundation
import Testing

@Suite(.fewAtOnce, .timeLimit(.minutes(5)))
struct AllocateTests {
  let bench: Workbench
  init() throws { bench = try Workbench() }

  @Test(arguments: [(nil, 4_194_304), ("8KiB", 8192), ("12288", 12_288), ("3MiB", 3_145_728)])
  func theSizeIsExact(size: String?, bytes: Int) async throws {
    if let size {
      try await bench.stubsave("allocate", "disk", "--size", size)
    } else {
      try await bench.stubsave("allocate", "disk")
    }
    let disk = try bench.bytes("disk")
    #expect(disk.count == bytes)
    #expect(try bench.mode("disk") == 0o600)
    expectSame(disk.dropFirst(4096), Data(count: bytes - 4096))
    #expect(try bench.names() == ["disk"])
  }

  @Test func theSpaceIsReserved() async throws {
    try await bench.stubsave("allocate", "disk")
    let blocks = try await bench.shell("stat -c %b disk")
    #expect(try #require(Int(blocks.lines[0])) * 512 >= 4_194_304)
  }

  @Test func theModeDoesNotDependOnTheUmask() async throws {
    try await bench.shell("umask 0; \"$STUBSAVE\" allocate disk")
    #expect(try bench.mode("disk") == 0o600)
  }

  @Test func theHeaderSaysWhatWasAskedFor() async throws {
    let report = try await bench.stubsave(
      "allocate", "disk", "--size", "1MiB", "--direction", "restore", "--max-state", "512KiB",
      "--chunk-size", "64KiB", "--json"
    ).json(AllocationJSON.self)
    #expect(report.type == "allocated")
    #expect(report.path == "disk")
    let header = report.header
    #expect(header.direction == "restore")
    #expect(header.capacityBytes == 1_048_576)
    #expect(header.maxRawBytes == 524_288)
    #expect(header.chunkBytes == 65_536)
    #expect(header.allowedCodecs == ["none", "zeros", "lz4", "zlib"])
    #expect(header.maxStreams == 16)
    let id = try bench.transferID("disk").map { String(format: "%02x", $0) }.joined()
    #expect(header.transferID == id)

    let found = try await bench.stubsave("inspect", "--json", "disk", exits: 3)
      .json(InspectionJSON.self)
    #expect(found.header == header)
    #expect(found.records.isEmpty && found.streams.isEmpty)
    #expect(found.verdict.verdict == "incomplete")
    #expect(found.verdict.offset == 4096)
  }

  @Test func theDefaultsAreThoseOfTheHelp() async throws {
    let header = try await bench.stubsave("allocate", "disk", "--json").json(AllocationJSON.self)
      .header
    #expect(header.direction == "save")
    #expect(header.capacityBytes == 4 << 20)
    #expect(header.maxRawBytes == 64 << 20)
    #expect(header.chunkBytes == 256 << 10)
  }

  @Test func withoutJSONItIsSilent() async throws {
    let outcome = try await bench.stubsave("allocate", "disk")
    #expect(outcome.output.isEmpty)
  }

  @Test func everyDiskHasAnIDOfItsOwn() async throws {
    try await bench.stubsave("allocate", "a")
    try await bench.stubsave("allocate", "b")
    #expect(try bench.transferID("a") != bench.transferID("b"))
  }

  @Test(arguments: ["", "text", "an allocated disk"])
  func anExistingFileStaysUntilForced(content: String) async throws {
    if content == "an allocated disk" {
      try await bench.stubsave("allocate", "disk")
    } else {
      try bench.put(Data(content.utf8), "disk")
    }
    let before = try bench.bytes("disk")
    let inode = try bench.inode("disk")
    try await bench.stubsave("allocate", "disk", "--size", "8KiB", exits: 12)
    try expectSame(bench.bytes("disk"), before)
    #expect(try bench.inode("disk") == inode)
    #expect(try bench.names() == ["disk"])

    try await bench.stubsave("allocate", "disk", "--size", "8KiB", "--force")
    #expect(try bench.byteCount("disk") == 8192)
    #expect(try bench.mode("disk") == 0o600)
    #expect(try bench.names() == ["disk"])
    try await bench.stubsave("verify", "disk", exits: 3)
  }

  @Test(arguments: ["0", "1", "4096", "8191", "8193", "4194303", "4194305", "4611686018427392000"])
  func aSizeThatIsNoneIsRefused(size: String) async throws {
    try await bench.stubsave("allocate", "disk", "--size", size, exits: 64)
    #expect(try bench.names().isEmpty)
  }

  @Test func withoutSpaceNothingStays() async throws {
    try await bench.stubsave("allocate", "disk", "--size", "4611686018427387904", exits: 11)
    #expect(try bench.names().isEmpty)
    try bench.put(Data("text".utf8), "disk")
    try await bench.stubsave(
      "allocate", "disk", "--size", "4611686018427387904", "--force", exits: 11)
    #expect(try bench.names() == ["disk"])
    try expectSame(bench.bytes("disk"), Data("text".utf8))
  }

  @Test func aDirectoryThatIsMissing() async throws {
    try await bench.stubsave("allocate", "missing/disk", exits: 14)
    try bench.put(Data(), "file")
    try await bench.stubsave("allocate", "file/disk", exits: 14)
    #expect(try bench.names() == ["file"])
  }

  @Test(arguments: [[], ["--force"]])
  func whatIsNoFileIsRefused(options: [String]) async throws {
    try bench.makeDirectory("directory")
    try await bench.shell("mkfifo fifo")
    for target in ["directory", "fifo", "/dev/full"] {
      let outcome = try await bench.run(Programs.stubsave(), ["allocate", target] + options)
      outcome.check([target], 6, isText: true, #_sourceLocation)
    }
    #expect(try bench.names() == ["directory", "fifo"])
    #expect(try FileManager.default.contentsOfDirectory(atPath: bench.url("directory").path) == [])
    try await bench.shell("test -p fifo && test -c /dev/full")
  }

  @Test func aFailureIsJSONToo() async throws {
    let failure = try await bench.stubsave("allocate", "missing/disk", "--json", exits: 14)
      .json(FailureJSON.self)
    #expect(failure.type == "error")
    #expect(failure.exitCode == 14)
    #expect(failure.message.hasPrefix("missing/disk: "))
  }
}
