// Invariants:
// - the help of the program and of each command is what the golden files say, however it is
//   asked for;
// - the help's table of exit codes has every code that the program can end with;
// - a command line that is wrong ends with 64, prints nothing on standard output and makes nothing.

import Foundation
import TestSupport
import Testing

@Suite(.fewAtOnce, .timeLimit(.minutes(5)))
struct HelpTests {
  let bench: Workbench
  init() throws { bench = try Workbench() }

  static let commands = [
    "dump", "restore", "list", "gc", "allocate", "write", "read", "verify", "inspect", "extract",
    "wrap", "attach", "detach", "hooks", "hooks install", "hooks remove", "hooks show", "proxy",
    "proxy adopt", "qmp-proxy", "console-log",
  ]

  @Test func theProgramsHelp() async throws {
    let help = try await bench.stubsave("--help")
    try Golden.expect(help.text, "stubsave")
    for arguments in [["help"], ["-h"], []] {
      let same = try await bench.run(Programs.stubsave(), arguments)
      #expect(same.end == .exit(0))
      #expect(same.text == help.text, "\(arguments)")
    }
  }

  @Test(arguments: commands) func aCommandsHelp(command: String) async throws {
    let words = command.split(separator: " ").map(String.init)
    let help = try await bench.run(Programs.stubsave(), ["help"] + words)
    #expect(help.end == .exit(0))
    try Golden.expect(help.text, "help-\(words.joined(separator: "-"))")
    let same = try await bench.run(Programs.stubsave(), words + ["--help"])
    #expect(same.text == help.text)
  }

  @Test func theVersion() async throws {
    let version = try await bench.stubsave("--version")
    #expect(version.lines.count == 1)
    #expect(version.text.wholeMatch(of: /[0-9]+\.[0-9]+\.[0-9]+\n/) != nil)
  }

  @Test func everyExitStatusInUseIsDocumented() async throws {
    let documented = ExitCodes.parse(help: try await bench.stubsave("--help").text)
    #expect(documented.isSuperset(of: [0, 1, 2, 3, 4, 6, 7, 11, 12, 14, 64]))

    let sources = Repository.root.appendingPathComponent("Sources")
    let declarations = try String(
      contentsOf: sources.appendingPathComponent("Transfer/ExitStatus.swift"), encoding: .utf8)
    let files = try #require(FileManager.default.enumerator(atPath: sources.path))
    var code = ""
    while let file = files.nextObject() as? String {
      guard file.hasSuffix(".swift") else { continue }
      code += try String(contentsOf: sources.appendingPathComponent(file), encoding: .utf8)
    }
    var count = 0
    for match in declarations.matches(of: /case ([a-zA-Z]+) = ([0-9]+)/) {
      count += 1
      let number = try #require(Int32(match.2))
      if code.contains(".\(match.1)") {
        #expect(documented.contains(number), "\(match.1) = \(number)")
      }
    }
    #expect(count >= 16)
  }

  static let wrong: [[String]] = [
    ["bogus"], ["--bogus"], ["allocate"], ["write"], ["read"], ["verify"], ["inspect"],
    ["allocate", ""], ["write", ""], ["verify", "good", ""],
    ["allocate", "new", "other"], ["write", "new", "other"], ["inspect", "good", "good"],
    ["allocate", "new", "--direction", "both"],
    ["allocate", "new", "--size"], ["allocate", "new", "--size", ""],
    ["allocate", "new", "--size", "KiB"], ["allocate", "new", "--size", "-8192"],
    ["allocate", "new", "--size", "+8192"], ["allocate", "new", "--size", "8 KiB"],
    ["allocate", "new", "--size", "8kib"], ["allocate", "new", "--size", "0x2000"],
    ["allocate", "new", "--size", "1.5MiB"], ["allocate", "new", "--size", "8192B"],
    ["allocate", "new", "--size", "18446744073709551616"],
    ["allocate", "new", "--size", "17179869184GiB"],
    ["write", "new", "--max-state", "many"], ["write", "new", "--codec", "zstd", "--level", "20"],
    ["write", "new", "--codec", "LZ4"], ["write", "new", "--codec", ""],
    ["write", "new", "--chunk-size", "65535"], ["write", "new", "--chunk-size", "32KiB"],
    ["write", "new", "--chunk-size", "96KiB"], ["write", "new", "--chunk-size", "2MiB"],
    ["write", "new", "--chunk-size", "0"], ["write", "new", "--chunk-size", "4295032832"],
    ["allocate", "new", "--chunk-size", "4295032832"],
    ["read", "good", "--codecs", "brotli"], ["read", "good", "--codecs", "lz4;zlib"],
    ["read", "good", "--stream", ""], ["read", "good", "--stream", "Qemu"],
    ["read", "good", "--stream", "a/b"], ["read", "good", "--stream", ".a"],
    ["read", "good", "-o", ""], ["read", "good", "--json"], ["read", "good", "--json", "-o", "-"],
    ["verify", "good", "--replay", "."], ["verify", "good", "--force"],
    ["hooks", "install", "xl", "--dry-run", "--max-console", "2097151"],
  ]

  @Test(arguments: wrong) func aWrongCommandLine(arguments: [String]) async throws {
    let good = try Data(contentsOf: Repository.fixtureURL("good/no-qemu.savedisk"))
    try bench.put(good, "good")
    let outcome = try await bench.run(
      Programs.stubsave(), arguments, input: .bytes(Data("state".utf8)))
    outcome.check(arguments, 64, isText: true, #_sourceLocation)
    if !arguments.contains("--json") { #expect(outcome.output.isEmpty) }
    #expect(try bench.names() == ["good"])
    try expectSame(bench.bytes("good"), good)
  }

  @Test(arguments: [["\u{1B}[31m"], ["read", "good", "--stream", "\u{1B}[31m"]])
  func wordsFromTheCommandLineAreEscapedInMessages(arguments: [String]) async throws {
    let outcome = try await bench.run(Programs.stubsave(), arguments)
    outcome.check(arguments, 64, isText: true, #_sourceLocation)
    #expect(outcome.end == .exit(64))
  }
}
