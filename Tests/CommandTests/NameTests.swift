// Invariants:
// - a path means the file of exactly these bytes, whatever they are: control characters, UTF-8,
//   bytes that are no UTF-8, a leading hyphen;
// - in messages, reports and JSON it is printable ASCII on one line, other bytes as \xNN.

import Foundation
import Testing

@Suite(.fewAtOnce, .timeLimit(.minutes(5)))
struct NameTests {
  let bench: Workbench
  init() throws { bench = try Workbench() }

  /// As printf(1) takes them, and as they must be shown.
  static let names: [(String, String)] = [
    (#"plain"#, #"plain"#),
    (#"a b'c"d"#, #"a b'c"d"#),
    (#"esc\033[31mred"#, #"esc\x1b[31mred"#),
    (#"line\nbreak\r\t"#, #"line\x0abreak\x0d\x09"#),
    (#"caf\303\251"#, #"caf\xc3\xa9"#),
    (#"cafe\314\201"#, #"cafe\xcc\x81"#),
    (#"\360\237\222\276"#, #"\xf0\x9f\x92\xbe"#),
    (#"bad\377\376bytes"#, #"bad\xff\xfebytes"#),
    (#"cut\342\202"#, #"cut\xe2\x82"#),
    (#"\357\277\275"#, #"\xef\xbf\xbd"#),
    (#"\302\233\177"#, #"\xc2\x9b\x7f"#),
    (#"back\\slash"#, #"back\x5cslash"#),
    (#"a=b"#, #"a=b"#),
    (#"=\377"#, #"=\xff"#),
  ]

  /// Sets `$name` in a script. The x keeps a line feed at the end from being cut off.
  private static func setting(_ printf: String, _ variable: String = "name") -> String {
    let quoted = printf.replacingOccurrences(of: "'", with: #"'\''"#)
    return "\(variable)=$(printf '\(quoted)x'); \(variable)=${\(variable)%x}\n"
  }

  @Test(arguments: names)
  func everyCommandTakesEveryName(printf: String, shown: String) async throws {
    let outcome = try await bench.shell(
      Self.setting(printf) + #"""
        "$STUBSAVE" allocate "$name" && "$AGENT" write "$name" < "$STATE" || exit 1
        test -f "$name" && test "$(stat -c %s "$name")" = 4194304 || exit 2
        "$AGENT" write "$name" < "$STATE" 2>&1
        "$STUBSAVE" write "$name" < "$STATE" 2>&1
        "$STUBSAVE" verify "$name" || exit 3
        "$STUBSAVE" inspect "$name" | head -n 1
        "$AGENT" read "$name" | cmp - "$STATE" || exit 4
        "$STUBSAVE" read "$name" --output="$name.state" && cmp "$name.state" "$STATE" || exit 5
        rm "$name" "$name.state" && test -z "$(ls -A)" || exit 6
        "$STUBSAVE" verify -- "$name" 2>&1
        true
        """#)
    outcome.expectPlainText(outcome.text, #_sourceLocation)
    let expected = [
      "stubsave-agent: \(shown): holds a log already", "stubsave: \(shown): is a save disk that",
      "\(shown): good: ", "\(shown): good", "\(shown): error: openat", "stubsave: \(shown): openat",
    ]
    #expect(outcome.lines.count == expected.count, "\(outcome.text)")
    for (line, start) in zip(outcome.lines, expected) {
      #expect(line.hasPrefix(start), "\(line)")
    }
  }

  @Test func pathsInJSON() async throws {
    let outcome = try await bench.shell(
      Self.setting(Self.names.map(\.0).joined(separator: "_"))
        + #""$STUBSAVE" write "$name" --json </dev/null && "$STUBSAVE" verify --json "$name""#)
    outcome.expectPlainText(outcome.text, #_sourceLocation)
    let paths = try outcome.lines.map {
      let object = try JSONSerialization.jsonObject(with: Data($0.utf8)) as? [String: Any]
      return try #require(object?["path"] as? String)
    }
    let shown = Self.names.map(\.1).joined(separator: "_")
    #expect(paths == [shown, shown])
  }

  @Test func aNameThatBeginsWithAHyphen() async throws {
    try await bench.shell(
      #"""
      "$STUBSAVE" write -- -disk < "$STATE" && "$STUBSAVE" read ./-disk | cmp - "$STATE"
      "$STUBSAVE" verify -- -disk --json 2>complaint; test $? = 14
      """#)
  }

  /// Two names that are the same once they have been repaired or normalised.
  @Test(arguments: [
    (#"a\377"#, #"a\376"#), (#"\377"#, #"\357\277\275"#), (#"e\314\201\377"#, #"\303\251\377"#),
  ])
  func namesThatAreAlike(good: String, bad: String) async throws {
    let outcome = try await bench.shell(
      Self.setting(good, "good") + Self.setting(bad, "bad") + #"""
        cp "$FIXTURES/good/worked-example.savedisk" "$good"
        cp "$FIXTURES/corrupt/chunk-changed.savedisk" "$bad"
        "$STUBSAVE" verify "$good" "$bad" 2>complaint; echo $?
        "$STUBSAVE" verify "$bad" "$good" 2>complaint; echo $?
        """#)
    #expect(outcome.lines.count == 6)
    let isGood = outcome.lines.map { $0.contains(": good: ") }
    #expect(isGood == [true, false, false, false, true, false])
    #expect(outcome.lines[2] == "2" && outcome.lines[5] == "2")
  }

  @Test func anOutputThatLooksLikeTheEndOfTheDisksName() async throws {
    try await bench.shell(
      Self.setting(#"a=b=\376"#, "disk") + Self.setting(#"\375"#, "state") + #"""
        cp "$FIXTURES/good/two-states.savedisk" "$disk"
        "$STUBSAVE" read "$disk" -o "$state"; test -f "$state"; echo $? > code
        """#)
    let code = try bench.bytes("code")
    #expect(code == Data("0\n".utf8))
  }

  @Test func aReplayDirectoryOfAnyName() async throws {
    let outcome = try await bench.shell(
      Self.setting(#"fix\377tures"#)
        + #"ln -s "$FIXTURES" "$name"; "$STUBSAVE" verify --replay "$name" 2>&1; echo $?"#)
    outcome.expectPlainText(outcome.text, #_sourceLocation)
    #expect(outcome.lines.last == "0")
  }

  @Test func aTemporaryDirectoryOfAnyName() async throws {
    let outcome = try await bench.shell(
      Self.setting(#"tmp\377"#) + #"""
        mkdir "$name"; export TMPDIR="$name"
        "$STUBSAVE" read "$FIXTURES/good/two-states.savedisk" 2>&1 >/dev/null; echo $?
        """#)
    outcome.expectPlainText(outcome.text, #_sourceLocation)
    #expect(outcome.lines.last == "0")
  }
}
