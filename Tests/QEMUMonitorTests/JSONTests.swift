import SaveDisk
import TestSupport
import Testing

@testable import QEMUMonitor

// Invariants:
// - what RFC 8259 allows is taken, apart from what two readers could understand differently;
// - everything else is refused, at the byte where it goes wrong; nothing traps, whatever comes;
// - nesting, values and members are bounded.

@Suite struct JSONTests {
  private func parse(_ text: String) throws -> JSONDocument {
    try JSONDocument(parsing: [UInt8](text.utf8))
  }

  @Test func `members are found, strings and numbers read`() throws {
    let document = try parse(
      #"{"a": {"x": 1, "b": [1, {"c": 2}], "d": "A\u00e9\ud83d\ude00\n\"\\\/"}, "n": 18446744073709551615, "t": true, "f": false, "z": null}"#
    )
    let a = try #require(document.member("a"))
    #expect(document.kind(a) == .object)
    let d = try #require(document.member("d", of: a))
    #expect(document.string(d) == [UInt8]("Aé😀\n\"\\/".utf8))
    #expect(document.string(d, is: "x") == false)
    #expect(document.unsigned(try #require(document.member("n"))) == .max)
    #expect(document.boolean(try #require(document.member("t"))) == true)
    #expect(document.boolean(try #require(document.member("f"))) == false)
    #expect(document.boolean(try #require(document.member("z"))) == nil)
    #expect(document.member("c") == nil)
    #expect(document.member("x") == nil)
    #expect(document.member("x", of: try #require(document.member("n"))) == nil)
  }

  @Test(arguments: ["-1", "1.5", "1e3", "18446744073709551616.0", "true", "\"1\""])
  func `what is no unsigned integer`(text: String) throws {
    #expect(try parse(text).unsigned(0) == nil)
  }

  @Test(arguments: [
    "{}", "[]", " {} \t\r\n", "0", "-0", "1.25e-10", "\"\"", "\"\\u0000\"", "[[],{},\"\"]",
    "{\"a\":{\"a\":{\"a\":1}}}", "18446744073709551615", "-9223372036854775808", "1e400",
    "\"\u{10FFFF}\u{7FF}\u{FFFD}\"", "[1,2]",
  ])
  func `allowed`(text: String) throws { _ = try parse(text) }

  @Test(arguments: [
    ("", 0, JSONError.Reason.syntax), ("{", 1, .syntax), ("{\"a\"}", 4, .syntax),
    ("{\"a\":1,}", 7, .syntax), ("[1,]", 3, .syntax), ("[1 2]", 3, .syntax),
    ("{a:1}", 1, .syntax), ("{'a':1}", 1, .syntax), ("01", 1, .trailing), ("1.", 2, .syntax),
    (".5", 0, .syntax), ("+1", 0, .syntax), ("1e", 2, .syntax), ("tru", 3, .syntax),
    ("NaN", 0, .syntax), ("{}x", 2, .trailing), ("{}{}", 2, .trailing),
    ("\"\t\"", 1, .controlCharacter), ("\"\\x\"", 2, .escape), ("\"\\u12\"", 5, .escape),
    ("\"\\ud800\"", 7, .surrogate), ("\"\\udc00\"", 7, .surrogate),
    ("\"\\ud800\\u0041\"", 13, .surrogate), ("{\"a\":1,\"a\":2}", 10, .duplicateName),
    ("{\"a\":1,\"\\u0061\":2}", 15, .duplicateName), ("\"abc", 4, .syntax),
    ("[18446744073709551616]", 1, .numberTooLarge), ("-9223372036854775809", 0, .numberTooLarge),
    ("100000000000000000000000", 0, .numberTooLarge),
  ])
  func `refused`(text: String, offset: Int, reason: JSONError.Reason) {
    #expect(throws: JSONError(offset: offset, reason: reason)) { try parse(text) }
  }

  /// Too long, cut, surrogates, beyond U+10FFFF, stray: as bytes between quotation marks.
  @Test(
    arguments: [
      [0x80], [0xC0, 0x80], [0xC1, 0xBF], [0xC2], [0xC2, 0x41], [0xE0, 0x9F, 0xBF],
      [0xED, 0xA0, 0x80], [0xE2, 0x82], [0xF0, 0x8F, 0xBF, 0xBF], [0xF4, 0x90, 0x80, 0x80],
      [0xF5, 0x80, 0x80, 0x80], [0xFF], [0xE2, 0x82, 0x41], [0xF0, 0x9F, 0x98, 0x41],
    ] as [[UInt8]])
  func `invalid UTF-8 is refused`(bytes: [UInt8]) {
    #expect(throws: JSONError(offset: 1, reason: .invalidUTF8)) {
      try JSONDocument(parsing: [0x22] + bytes + [0x22])
    }
  }

  @Test func `nesting, values and members are bounded`() throws {
    let deep = String(repeating: "[", count: 32) + String(repeating: "]", count: 32)
    _ = try parse(deep)
    #expect(throws: JSONError(offset: 32, reason: .tooDeep)) {
      try parse(String(repeating: "[", count: 100_000))
    }
    let many = "[" + String(repeating: "1,", count: 65_534) + "1]"
    _ = try parse(many)
    #expect(throws: JSONError.self) {
      try parse("[" + String(repeating: "1,", count: 65_535) + "1]")
    }
    let members = (0..<257).map { "\"\($0)\":0" }
    _ = try parse("{" + members.prefix(256).joined(separator: ",") + "}")
    #expect(throws: JSONError.self) { try parse("{" + members.joined(separator: ",") + "}") }
  }

  /// Flips, cuts and random bytes: an error or a document, never a trap.
  @Test func `nothing traps`() throws {
    let good = [UInt8](
      #"{"timestamp":{"seconds":1,"microseconds":2},"event":"STOP","data":{"a":[1.5e3,"\u00e9\ud83d\ude00é"]}}"#
        .utf8)
    for end in 0..<good.count {
      #expect(throws: JSONError.self) { try JSONDocument(parsing: [UInt8](good[..<end])) }
    }
    var accepted = 0
    for index in good.indices {
      for bit in 0..<8 {
        var bytes = good
        bytes[index] ^= 1 << UInt8(bit)
        if let document = try? JSONDocument(parsing: bytes) {
          accepted += 1
          for token in document.tokens.indices { _ = document.string(token) }
        }
      }
    }
    #expect(accepted > 100)  // Letters within strings, digits.
    var generator = SeededGenerator(seed: 5)
    let alphabet = [UInt8]("{}[]\":,\\u0019eE.+-tfn \u{e9}".utf8)
    for _ in 0..<20_000 {
      let count = Int(generator.next() % 24)
      let bytes = (0..<count).map { _ in alphabet[Int(generator.next() % UInt64(alphabet.count))] }
      if let document = try? JSONDocument(parsing: bytes) {
        for token in document.tokens.indices { _ = document.string(token) }
      }
    }
  }
}
