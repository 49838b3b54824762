// Invariants:
// - (a) a file that is absent or empty becomes an archive, 0600 if it is new: header with capacity
//   0, and its end is that of the commit's block; an empty file is written in place;
// - (b) an allocated disk whose log is empty is written once, under the header that it has, and
//   keeps its size;
// - (c) everything else is refused with 12 and stays as it is to the byte, unless --force replaces
//   it by a new archive with a new transfer id;
// - whatever `write` calls written, `verify` calls good.

import Foundation
import TestSupport
import Testing

@Suite(.fewAtOnce, .timeLimit(.minutes(5)))
struct WriteTests {
  let bench: Workbench
  init() throws { bench = try Workbench() }

  /// The disk must be good, with one stream `qemu` of these bytes.
  private func expectState(
    _ disk: String, _ state: Data, sourceLocation: SourceLocation = #_sourceLocation
  ) async throws {
    let read = try await bench.stubsave("read", disk, isText: false, sourceLocation: sourceLocation)
    expectSame(read.output, state, sourceLocation: sourceLocation)
  }

  @Test(arguments: [0, 1, 100, 262_143, 262_144, 262_145, 700_000])
  func anAbsentFileBecomesAnArchive(stateBytes: Int) async throws {
    let state = States.random(stateBytes)
    let written = try await bench.stubsave("write", "disk", "--json", input: .bytes(state))
      .json(WrittenJSON.self)
    #expect(written.type == "written")
    #expect(written.path == "disk")
    #expect(written.rawBytes == stateBytes)
    #expect(written.storedBytes == stateBytes)
    #expect(try bench.mode("disk") == 0o600)
    #expect(try bench.names() == ["disk"])

    let found = try await bench.stubsave("inspect", "--json", "disk").json(InspectionJSON.self)
    let header = try #require(found.header)
    #expect(header.capacityBytes == 0)
    #expect(header.chunkBytes == 262_144)
    #expect(header.maxRawBytes == 64 << 20)
    let commit = try #require(found.records.last)
    #expect(commit.type == "commit")
    #expect(try bench.byteCount("disk") == (commit.offset + 192 + 4095) / 4096 * 4096)
    #expect(try bench.byteCount("disk") == written.diskBytes)
    #expect(found.streams.map(\.name) == ["qemu"])
    #expect(found.streams[0].rawBytes == stateBytes)
    #expect(found.streams[0].chunkCount == (stateBytes + 262_143) / 262_144)
    try await expectState("disk", state)
  }

  @Test func anEmptyFileIsWrittenInPlace() async throws {
    try bench.put(Data(), "disk")
    let inode = try bench.inode("disk")
    let mode = try bench.mode("disk")
    let outcome = try await bench.stubsave("write", "disk", input: .file(States.real))
    #expect(outcome.output.isEmpty)
    #expect(try bench.inode("disk") == inode)
    #expect(try bench.mode("disk") == mode)
    let found = try await bench.stubsave("inspect", "--json", "disk").json(InspectionJSON.self)
    #expect(found.header?.capacityBytes == 0)
    #expect(found.verdict.diskBytes == (try bench.byteCount("disk")))
    try await expectState("disk", Data(contentsOf: States.real))
  }

  @Test func anAllocatedDiskIsWrittenOnce() async throws {
    let options = ["--size", "1MiB", "--direction", "restore", "--chunk-size", "64KiB"]
    let allocation = try await bench.run(
      Programs.stubsave(), ["allocate", "disk", "--json"] + options
    ).json(AllocationJSON.self)
    let inode = try bench.inode("disk")
    let header = try bench.bytes("disk").prefix(4096)

    // Options for a new header do not touch one that is there.
    try await bench.stubsave(
      "write", "disk", "--chunk-size", "1MiB", "--max-state", "2MiB", input: .file(States.real))
    let disk = try bench.bytes("disk")
    expectSame(disk.prefix(4096), header)
    #expect(disk.count == 1 << 20)
    #expect(try bench.inode("disk") == inode)
    let found = try await bench.stubsave("inspect", "--json", "disk").json(InspectionJSON.self)
    #expect(found.header == allocation.header)
    try await expectState("disk", Data(contentsOf: States.real))

    try await bench.stubsave("write", "disk", input: .bytes(Data("other".utf8)), exits: 12)
    try expectSame(bench.bytes("disk"), disk)
    #expect(try bench.names() == ["disk"])
  }

  @Test(arguments: [
    "good/no-qemu.savedisk", "good/allocated-with-room.savedisk",
    "incomplete/abort-first.savedisk", "incomplete/cut-4224-before-chunk.savedisk",
    "corrupt/begin-body-name-flipped.savedisk", "not-a-save-disk/text.savedisk",
    "not-a-save-disk/short-text.savedisk", "not-a-save-disk/zeros.savedisk",
    "unsupported/header-version-2.savedisk",
  ])
  func whatHoldsSomethingElseStaysUntilForced(fixture: String) async throws {
    let before = try Data(contentsOf: Repository.fixtureURL(fixture))
    try bench.put(before, "disk")
    let inode = try bench.inode("disk")
    let refusal = try await bench.stubsave(
      "write", "disk", "--json", input: .file(States.real), exits: 12)
    #expect(try refusal.json(FailureJSON.self).exitCode == 12)
    #expect(refusal.complaints.contains("--force"))
    try expectSame(bench.bytes("disk"), before)
    #expect(try bench.inode("disk") == inode)
    #expect(try bench.names() == ["disk"])

    try await bench.stubsave("write", "disk", "--force", input: .file(States.real))
    #expect(try bench.transferID("disk") != before.dropFirst(32).prefix(16))
    #expect(try bench.mode("disk") == 0o600)
    #expect(try bench.names() == ["disk"])
    try await expectState("disk", Data(contentsOf: States.real))
  }

  @Test func forceMakesAnArchiveOfAnAllocatedDisk() async throws {
    try await bench.stubsave("allocate", "disk")
    let id = try bench.transferID("disk")
    try await bench.stubsave("write", "disk", "--force", input: .file(States.real))
    #expect(try bench.transferID("disk") != id)
    #expect(try bench.byteCount("disk") < 1 << 20)
    try await bench.stubsave("verify", "disk")
  }

  @Test func theOldFileStaysIfForcedInVain() async throws {
    try bench.put(Data("text".utf8), "disk")
    let inode = try bench.inode("disk")
    try await bench.stubsave(
      "write", "disk", "--force", "--max-state", "1000", input: .file(States.real), exits: 7)
    try expectSame(bench.bytes("disk"), Data("text".utf8))
    #expect(try bench.inode("disk") == inode)
    #expect(try bench.names() == ["disk"])
  }

  @Test func aStateFromAPipe() async throws {
    try await bench.shell("cat \"$STATE\" | \"$STUBSAVE\" write disk")
    try await expectState("disk", Data(contentsOf: States.real))
    try await bench.shell(": | \"$STUBSAVE\" write empty")
    try await expectState("empty", Data())
    // In pieces that are no whole chunks.
    try await bench.shell(
      """
      { head -c 1 "$STATE"; tail -c +2 "$STATE" | dd bs=777 2>/dev/null; } |
        "$STUBSAVE" write pieces
      """)
    try await expectState("pieces", Data(contentsOf: States.real))
  }

  @Test func theStateBeginsWhereStandardInputStands() async throws {
    try bench.put(Data("0123456789".utf8), "state")
    try await bench.shell("{ head -c 4 >/dev/null; \"$STUBSAVE\" write disk; } < state")
    // head(1) reads a block and seeks back to what it printed.
    try await expectState("disk", Data("456789".utf8))
  }

  /// Each file that `write` takes must be good afterwards; each that it refuses, unchanged.
  @Test(arguments: [
    "incomplete/allocated-untouched.savedisk", "incomplete/allocated-cut-after-header.savedisk",
    "incomplete/cut-4096-before-begin.savedisk", "incomplete/torn-before-begin.savedisk",
    "incomplete/grown-with-zeros.savedisk", "incomplete/zeros-then-stale-log.savedisk",
    "allocated, then shortened", "allocated, then lengthened",
  ])
  func whatIsWrittenIsGood(disk: String) async throws {
    if disk.hasPrefix("allocated, ") {
      try await bench.stubsave("allocate", "disk", "--size", "1MiB")
      try await bench.shell("truncate -s \(disk.hasSuffix("shortened") ? "64K" : "2M") disk")
    } else {
      try bench.put(Data(contentsOf: Repository.fixtureURL(disk)), "disk")
    }
    let before = try bench.bytes("disk")
    let state = Data("QEVM and so on".utf8)
    let write = try await bench.run(Programs.stubsave(), ["write", "disk"], input: .bytes(state))
    guard write.end == .exit(0) else {
      write.check(["write"], 12, isText: true, #_sourceLocation)
      try expectSame(bench.bytes("disk"), before)
      return
    }
    try await expectState("disk", state)
  }
}
