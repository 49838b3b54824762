import Foundation
import Testing

// Rules for every run of a program:
// - it ends as it should, with a code that `stubsave --help` documents;
// - an exit other than 0 says why on standard error, in whole lines, and one of 0 is silent there;
// - what it says is printable ASCII, whatever went in.

extension Outcome {
  func check(
    _ arguments: [String], _ code: Int32, isText: Bool, _ location: SourceLocation
  ) {
    #expect(end == .exit(code), "\(arguments): \(complaints)", sourceLocation: location)
    if case .exit(let code) = end {
      #expect(
        ExitCodes.documented.contains(code) || Golden.isRecording,
        "\(arguments): exit code \(code) is not documented",
        sourceLocation: location)
    }
    if end == .exit(0) {
      #expect(complaints.isEmpty, "\(arguments)", sourceLocation: location)
    } else {
      #expect(!complaintLines.isEmpty, "\(arguments) says nothing", sourceLocation: location)
      #expect(complaints.hasSuffix("\n"), "\(arguments)", sourceLocation: location)
    }
    expectPlainText(complaints, location)
    // What is no text may be very long, and each byte of it wrong.
    if isText { expectPlainText(String(decoding: output.prefix(1 << 20), as: UTF8.self), location) }
  }

  func expectPlainText(_ text: String, _ location: SourceLocation) {
    let isPlain = text.utf8.allSatisfy { $0 == 0x0A || ($0 >= 0x20 && $0 < 0x7F) }
    #expect(
      isPlain, "not printable ASCII: \(text.prefix(1000).debugDescription)",
      sourceLocation: location)
  }
}

/// Expects the same bytes. `#expect(==)` would look for the smallest difference between the two,
/// which takes hours for large ones.
func expectSame(
  _ found: Data, _ expected: Data, sourceLocation: SourceLocation = #_sourceLocation
) {
  if found == expected { return }
  var same = 0
  var different = min(found.count, expected.count) + 1
  while same + 1 < different {
    let middle = (same + different) / 2
    if found.prefix(middle) == expected.prefix(middle) { same = middle } else { different = middle }
  }
  Issue.record(
    "\(found.count) bytes instead of \(expected.count), the same up to \(same)",
    sourceLocation: sourceLocation)
}

enum ExitCodes {
  /// As the golden `stubsave --help` has them. A test holds that against the program.
  static let documented: Set<Int32> = {
    guard let help = try? String(contentsOf: Golden.url("stubsave"), encoding: .utf8) else {
      return []
    }
    return parse(help: help)
  }()

  /// "Exit codes: 0 good, 1 internal error, ... 128+N signal N."
  static func parse(help: String) -> Set<Int32> {
    let words = help.replacingOccurrences(of: "\n", with: " ")
    guard let start = words.range(of: "Exit codes: "), let end = words.range(of: "128+N signal N")
    else { return [] }
    let entries = words[start.upperBound..<end.lowerBound].components(separatedBy: ", ")
    return Set(entries.compactMap { Int32($0.prefix { $0 != " " }) })
  }
}

/// Files that say exactly what a program prints; STUBSAVE_RECORD=1 writes them anew.
enum Golden {
  static let isRecording = ProcessInfo.processInfo.environment["STUBSAVE_RECORD"] == "1"

  static func url(_ name: String) -> URL {
    URL(fileURLWithPath: #filePath).deletingLastPathComponent()
      .appendingPathComponent("Golden/\(name).txt")
  }

  static func expect(
    _ text: String, _ name: String, sourceLocation: SourceLocation = #_sourceLocation
  ) throws {
    let url = url(name)
    if isRecording {
      try text.write(to: url, atomically: true, encoding: .utf8)
      return
    }
    let golden = try String(contentsOf: url, encoding: .utf8)
    #expect(
      text == golden, "not as in \(url.path); STUBSAVE_RECORD=1 writes it anew",
      sourceLocation: sourceLocation)
  }
}
