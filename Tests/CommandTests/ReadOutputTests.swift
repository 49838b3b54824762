// Invariants:
// - a file given with -o appears whole or not at all, 0600; one that exists stays as it is to the
//   byte, unless --force replaces it;
// - what exists and is no file is written in place, a directory never;
// - an output that takes nothing is an error (11), and one that stops taking ends the program.

import Foundation
import TestSupport
import Testing

@Suite(.fewAtOnce, .timeLimit(.minutes(5)))
struct ReadOutputTests {
  let bench: Workbench
  init() throws { bench = try Workbench() }

  private static let disk = Repository.fixture("good/two-states.savedisk")

  private func state() throws -> Data {
    try Data(contentsOf: Repository.fixtureURL("states/x01-pc-min-reset.dev"))
  }

  @Test func aLinkThatLeadsNowhere() async throws {
    try await bench.stubsave("write", "disk", input: .bytes(Data("state".utf8)))
    try FileManager.default.createSymbolicLink(
      at: bench.url("link"), withDestinationURL: bench.url("nowhere"))
    let outcome = try await bench.stubsave("read", "disk", "-o", "link", exits: 12)
    #expect(outcome.complaints.contains("exists; --force replaces it"))
    #expect(try bench.names() == ["disk", "link"])
    // Of a link, the link is replaced.
    try await bench.stubsave("read", "--force", "disk", "-o", "link")
    #expect(try bench.names() == ["disk", "link"])
    #expect(try bench.bytes("link") == Data("state".utf8))
  }

  @Test func aNewFile() async throws {
    let outcome = try await bench.stubsave("read", Self.disk, "-o", "state")
    #expect(outcome.output.isEmpty)
    try expectSame(bench.bytes("state"), state())
    #expect(try bench.mode("state") == 0o600)
    #expect(try bench.names() == ["state"])
    try await bench.shell("umask 0; \"$STUBSAVE\" read \(Self.disk) --output other")
    #expect(try bench.mode("other") == 0o600)
  }

  @Test func anExistingFileStaysUntilForced() async throws {
    try bench.put(Data("older".utf8), "state")
    let inode = try bench.inode("state")
    try await bench.stubsave("read", Self.disk, "-o", "state", exits: 12)
    try expectSame(bench.bytes("state"), Data("older".utf8))
    #expect(try bench.inode("state") == inode)

    try await bench.stubsave("read", Self.disk, "-o", "state", "--force")
    try expectSame(bench.bytes("state"), state())
    #expect(try bench.inode("state") != inode)
    #expect(try bench.mode("state") == 0o600)
    #expect(try bench.names() == ["state"])
  }

  @Test func theReportOfAStream() async throws {
    let report = try await bench.stubsave("read", Self.disk, "-o", "state", "--json")
      .json(StreamJSON.self)
    #expect(report.name == "qemu")
    #expect(report.rawBytes == (try bench.byteCount("state")))
    #expect(report.chunkCount == 1)
    #expect(report.xxh128.wholeMatch(of: /[0-9a-f]{32}/) != nil)
    let verdict = try await bench.stubsave("verify", "--json", Self.disk).json(VerdictJSON.self)
    #expect(verdict.streams.first == report)
  }

  @Test func aHyphenIsStandardOutput() async throws {
    let read = try await bench.stubsave("read", Self.disk, "-o", "-", isText: false)
    try expectSame(read.output, state())
    #expect(try bench.names().isEmpty)
    try await bench.stubsave("read", Self.disk, "-o", "./-")
    #expect(try bench.names() == ["-"])
  }

  @Test func aFIFOIsWrittenInPlace() async throws {
    for force in ["", "--force"] {
      try await bench.shell(
        """
        mkfifo fifo
        cat fifo > copy & reader=$!
        "$STUBSAVE" read \(Self.disk) -o fifo \(force) || { kill $reader; exit 1; }
        wait $reader && test -p fifo && rm fifo
        """)
      try expectSame(bench.bytes("copy"), state())
      #expect(try bench.names() == ["copy"])
    }
  }

  @Test(arguments: ["read disk", "extract file", "wrap state"])
  func aFIFOsReaderIsWaitedForAsLongAsWasSaid(command: String) async throws {
    for (place, name) in [
      ("good/worked-example.savedisk", "disk"), ("good/xl-real-state.xlsave", "file"),
      ("states/x08-pc-min-nousb-novga.dev", "state"),
    ] {
      try bench.put(Data(contentsOf: Repository.fixtureURL(place)), name)
    }
    let late = try await bench.shell(
      "mkfifo fifo; \"$STUBSAVE\" \(command) -o fifo --timeout 0.3", exits: 10)
    #expect(late.complaints.contains("fifo: nobody has opened it to read within 0.3 s (--timeout)"))
    // The reader may come before or after.
    try await bench.shell(
      """
      "$STUBSAVE" \(command) -o fifo --timeout 60 2>told & writer=$!
      cat fifo > copy; wait $writer
      """)
    #expect(try bench.byteCount("copy") > 0)
    // By a signal, with and without a limit; 137 if it had to be killed.
    for limit in ["", "--timeout 60"] {
      try await bench.shell(
        "timeout -k 30 0.5 \"$STUBSAVE\" \(command) -o fifo \(limit)", exits: 124)
    }
    #expect(try bench.names() == ["copy", "disk", "fifo", "file", "state", "told"])
  }

  @Test func devicesAreWrittenInPlace() async throws {
    try await bench.stubsave("read", Self.disk, "-o", "/dev/null")
    try await bench.stubsave("read", Self.disk, "-o", "/dev/null", "--force")
    try await bench.stubsave("read", Self.disk, "-o", "/dev/full", exits: 11)
    try await bench.shell("test -c /dev/null && test -c /dev/full")
  }

  @Test func aDirectoryIsNoOutput() async throws {
    try bench.makeDirectory("directory")
    try await bench.stubsave("read", Self.disk, "-o", "directory", exits: 12)
    try await bench.stubsave("read", Self.disk, "-o", "directory", "--force", exits: 12)
    try await bench.stubsave("read", Self.disk, "-o", "missing/state", exits: 14)
    try await bench.stubsave("read", Self.disk, "-o", "directory/state/", exits: 14)
    #expect(try bench.names() == ["directory"])
    #expect(try FileManager.default.contentsOfDirectory(atPath: bench.url("directory").path) == [])
  }

  @Test func theOutputIsNeverTheDisk() async throws {
    try await bench.stubsave("write", "disk", input: .file(States.real))
    let disk = try bench.bytes("disk")
    try await bench.stubsave("read", "disk", "-o", "disk", exits: 12)
    try expectSame(bench.bytes("disk"), disk)
    try await bench.stubsave("read", "disk", "-o", "disk", "--force", exits: 12)
    try expectSame(bench.bytes("disk"), disk)
  }

  @Test(arguments: [
    "read good", "verify good", "verify --json good", "inspect good", "inspect --json good",
    "verify --replay \"$FIXTURES\"", "allocate new --json",
  ])
  func aStandardOutputThatIsFullOrClosed(command: String) async throws {
    try bench.put(Data(contentsOf: URL(fileURLWithPath: Self.disk)), "good")
    for output in [">/dev/full", ">&-"] {
      let outcome = try await bench.shell(
        "rm -f new; \"$STUBSAVE\" \(command) \(output)", exits: 11)
      #expect(outcome.complaintLines.count == 1)
    }
  }

  @Test(arguments: ["\"$STUBSAVE\" read disk", "\"$AGENT\" read disk"])
  func withStandardInputClosedTooNothingIsCalledGood(command: String) async throws {
    try await bench.stubsave("write", "disk", input: .file(States.real))
    let outcome = try await bench.shell("\(command) <&- >&- 2>complaint; echo $?")
    #expect(outcome.text == "11\n")
  }

  @Test(arguments: ["STUBSAVE", "AGENT"])
  func aReaderThatGoesAway(program: String) async throws {
    try await bench.stubsave("write", "disk", input: .bytes(States.random(5 << 20)))
    func read(_ signal: String) async throws -> String {
      try await bench.shell(
        """
        { env --\(signal)-signal=PIPE "$\(program)" read disk 2>complaint; echo $? >code; } |
          head -c 10 | wc -c
        cat code
        """
      ).text
    }
    #expect(try await read("default") == "10\n141\n")
    #expect(try bench.byteCount("complaint") == 0)
    #expect(try await read("ignore") == "10\n11\n")
    #expect(try bench.byteCount("complaint") > 0)
  }
}
