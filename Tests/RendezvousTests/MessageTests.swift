import Rendezvous
import SaveDisk
import TestSupport
import Testing

// Invariants (formats/rendezvous.md, section 2):
// - every message comes back from its bytes as it was, and has the form of a message;
// - what is too long, has other bytes or other spaces is nonsense;
// - a message of another version gives its id and nothing more;
// - nothing traps, whatever is in a cell.

@Suite struct MessageTests {
  static let id = Bytes16(first: 0xFEDC_BA98_7654_3210, last: 0x0F1E_2D3C_4B5A_6978)
  static let idText = "1032547698badcfe78695a4b3c2d1e0f"

  static let offers: [(Offer, String)] = [
    (.idle, "2 idle"),
    (wanted(.reset(maxBytes: 67_108_864), 1), "2 \(idText) reset 67108864 1"),
    (wanted(.save(disk(xvdz), maxBytes: 1)), "2 \(idText) save xvdz \(diskText) 1 60000"),
    (
      wanted(.load(disk(xvdz), maxBytes: 1 << 62), 3_600_000),
      "2 \(idText) load xvdz \(diskText) 4611686018427387904 3600000"
    ),
    (
      wanted(.take(disk(file), maxBytes: 0, .paused)),
      "2 \(idText) take fd:7 \(diskText) 0 paused 60000"
    ),
    (
      wanted(.take(disk(file), maxBytes: 9, .pause)),
      "2 \(idText) take fd:7 \(diskText) 9 pause 60000"
    ),
    (
      wanted(.take(disk(file), maxBytes: 10, .keep)),
      "2 \(idText) take fd:7 \(diskText) 10 keep 60000"
    ),
    (
      wanted(.reset(maxBytes: 9, .ignore), 1), "2 \(idText) reset,ignore-blockers 9 1"
    ),
    (
      wanted(.take(disk(file), maxBytes: 10, .keep, .ignore)),
      "2 \(idText) take,ignore-blockers fd:7 \(diskText) 10 keep 60000"
    ),
    (wanted(.cont), "2 \(idText) cont 60000"), (wanted(.keep), "2 \(idText) keep 60000"),
  ]

  static func wanted(_ verb: Verb, _ milliseconds: UInt64 = 60_000) -> Offer {
    .wanted(Wanted(id: id, verb, milliseconds: milliseconds))
  }

  static let xvdz = device("xvdz")
  static let diskText = "00000000000000ff0100000000000000"

  static func disk(_ device: DeviceName) -> OfferedDisk {
    OfferedDisk(device, transferID: Bytes16(first: 0xFF << 56, last: 1))
  }

  static let file = DeviceName(openFile: 7)

  static func device(_ text: String) -> DeviceName {
    guard let name = DeviceName([UInt8](text.utf8)) else { fatalError(text) }
    return name
  }

  static let answers: [(Answer, String)] =
    [
      (.of(id: id, .accepted), "2 \(idText) accepted"),
      (.of(id: id, .ready), "2 \(idText) ready"),
      (.of(id: id, .progress(bytes: 4096, .unknown)), "2 \(idText) progress 4096 unknown"),
      (.of(id: id, .progress(bytes: 0, .stopped)), "2 \(idText) progress 0 stopped"),
      (.of(id: id, .committed(diskBytes: 8192, .paused)), "2 \(idText) committed 8192 paused"),
      (.of(id: id, .committed(diskBytes: 8192, .running)), "2 \(idText) committed 8192 running"),
      (.of(id: id, .committed(diskBytes: 8192, .stopped)), "2 \(idText) committed 8192 stopped"),
      (.of(id: id, .loaded(stateBytes: 5)), "2 \(idText) loaded 5"),
      (.unsupported(id: id, version: 3), "3 \(idText) unsupported"),
    ]
    + FailureReason.allCases.map { reason in
      (
        .of(id: id, .failed(code: 7, neededBytes: 12288, .unknown, reason)),
        "2 \(idText) failed 7 12288 unknown \(reason)"
      )
    }
    + ["x", "QEMU refused stop: no, \\x1b[31m", String(repeating: "a b", count: 40)].map { text in
      (
        .of(
          id: id,
          .failed(code: 13, neededBytes: 0, .running, .blocked, words: words(text))),
        "2 \(idText) failed 13 0 running blocked \(text)"
      )
    }

  static func words(_ text: String) -> AgentWords {
    guard let words = AgentWords([UInt8](text.utf8)) else { fatalError(text) }
    return words
  }

  @Test func `messages come back`() {
    for (offer, text) in Self.offers {
      #expect(String(decoding: offer.encoded(), as: UTF8.self) == text)
      #expect(Offer.read([UInt8](text.utf8)) == .message(offer))
    }
    for (answer, text) in Self.answers {
      #expect(String(decoding: answer.encoded(), as: UTF8.self) == text)
      #expect(Answer.read([UInt8](text.utf8)) == .message(answer))
    }
  }

  @Test func `the longest fit`() {
    let longest = Self.wanted(
      .take(
        Self.disk(Self.device(String(repeating: "z", count: 32))), maxBytes: 1 << 62, .paused,
        .ignore),
      Wanted.maxMilliseconds)
    #expect(longest.encoded().count <= 255 - "65535".count + 1)
    let failed = Answer.of(
      id: Self.id,
      .failed(
        code: 255, neededBytes: 1 << 62, .running, .incoming,
        words: Self.words(String(repeating: "a", count: AgentWords.maxBytes))))
    // The figure of section 2.4.
    #expect(failed.encoded().count == 203)
  }

  // Section 6: what version 1 has instead.

  @Test func `in version 1`() {
    for (offer, text) in Self.offers {
      guard case .wanted(let wanted) = offer else { continue }
      let older = Offer.wanted(
        Wanted(id: wanted.id, version: 1, wanted.verb, milliseconds: wanted.milliseconds))
      let line = "1" + text.dropFirst().replacing(",ignore-blockers", with: "")
      #expect(String(decoding: older.encoded(), as: UTF8.self) == line)
      guard case .message(.wanted(let read)) = Offer.read([UInt8](line.utf8)) else {
        Issue.record("not read: \(line)")
        continue
      }
      #expect(read.version == 1 && Offer.wanted(read).encoded() == [UInt8](line.utf8))
    }
    let words = Self.words("State blocked")
    for (reason, known) in [(FailureReason.blocked, "qemu"), (.device, "device")] {
      let answer = Answer.of(
        id: Self.id, .failed(code: 13, neededBytes: 0, .paused, reason, words: words))
      let line = [UInt8]("1 \(Self.idText) failed 13 0 paused \(known)".utf8)
      #expect(answer.encoded(version: 1) == line)
      #expect(
        Answer.read(line)
          == .message(
            .of(
              id: Self.id,
              .failed(
                code: 13, neededBytes: 0, .paused, reason == .blocked ? .qemu : reason))))
    }
  }

  @Test(arguments: [
    "1 \(idText) failed 13 0 paused blocked", "1 \(idText) failed 13 0 paused qemu words",
    "2 \(idText) failed 13 0 paused words", "2 \(idText) ready words",
    "2 \(idText) failed 13 0 paused qemu ", "2 \(idText) failed 13 0 paused qemu  x",
    "2 \(idText) failed 13 0 paused qemu x ", "2 \(idText) failed 13 0 paused qemu x  y",
    "2 \(idText) failed 13 0 paused qemu \u{1b}[2J", "2 \(idText) failed 13 0 paused qemu x\r",
    "2 \(idText) failed 13 0 paused qemu x\u{7f}", "2 \(idText) failed 13 0 paused qemu \u{9b}31m",
    "2 \(idText) failed 13 0 paused qemu " + String(repeating: "x", count: 121),
    "2 \(idText) committed 1 paused and so on, in as many words as it takes",
  ])
  func `nonsense with words`(text: String) {
    #expect(Answer.read([UInt8](text.utf8)) == .nonsense)
  }

  @Test(arguments: [
    "1 \(idText) reset,ignore-blockers 1 1", "2 \(idText) reset,heed-blockers 1 1",
    "2 \(idText) save,ignore-blockers xvdz \(diskText) 1 1",
    "2 \(idText) reset 1 ignore-blockers 1",
    "1 \(idText) take,ignore-blockers xvdz \(diskText) 1 pause 1",
  ])
  func `what is not to be ignored`(text: String) {
    let version = UInt32(text.prefix(1))
    #expect(
      Offer.read([UInt8](text.utf8)) == .unknown(version: version ?? 0, id: Self.id))
  }

  @Test func `words of any text`() {
    for (text, wanted) in [
      ("", nil), (" ", nil), ("a", "a"), ("  a   b ", "a b"), ("\u{1b}[31m\n", "\\x1b[31m\\x0a"),
      ("\\", "\\x5c"), ("\u{e9}", "\\xc3\\xa9"),
      (String(repeating: "a", count: 120), String(repeating: "a", count: 120)),
      (String(repeating: "a", count: 121), String(repeating: "a", count: 117) + "..."),
      (String(repeating: "a ", count: 99), String(repeating: "a ", count: 58) + "a..."),
      (String(repeating: "a", count: 116) + " bcdef", String(repeating: "a", count: 116) + "..."),
    ] as [(String, String?)] {
      var plain = PlainText()
      plain.append(escaping: text.utf8)
      let words = AgentWords(plain)
      #expect(words.map { String(decoding: $0.bytes, as: UTF8.self) } == wanted)
      #expect(words.map { $0.isCut } == wanted.map { $0.hasSuffix("...") })
      if let words { #expect(AgentWords(words.bytes) == words) }
    }
  }

  @Test func `an answer in another version than the offer`() {
    let line = [UInt8]("1 \(Self.idText) ready".utf8)
    #expect(Answer.read(line, version: 1) == .message(.of(id: Self.id, .ready)))
    #expect(Answer.read(line, version: 2) == .unknown(version: 1, id: Self.id))
    #expect(Answer.read(line) == .message(.of(id: Self.id, .ready)))
  }

  @Test(arguments: [
    " ", "1", "1 ", " 1 idle", "1  idle", "1 idle ", "0 idle", "01 idle", "65536 idle", "x idle",
    "1 idle\n", "1 idle\0", "1\tidle", "1 \(idText.uppercased()) reset 1", "1 \(idText)0 reset 1",
    "1 \(idText.dropLast()) reset 1", "1 \u{e9}", "idle", "2 idle 1",
    "1 \(idText) reset 1 2 3 4 5 6 7 8 9", "1 \(idText) re\u{1}set 1",
    "1 \(idText) r\u{e9}set 1", "1 \(idText) reset\u{7f} 1", "7 \(idText) \u{1b}[31m",
  ])
  func `nonsense in an offer`(text: String) {
    #expect(Offer.read([UInt8](text.utf8)) == .nonsense)
  }

  @Test(arguments: [
    "1 \(idText)", "1 \(idText) reset", "1 \(idText) reset 01", "1 \(idText) reset -1",
    "1 \(idText) reset 4611686018427387905", "1 \(idText) reset 99999999999999999999",
    "1 \(idText) save xvdz", "1 \(idText) save XVDZ \(diskText) 1 1",
    "1 \(idText) save ../x \(diskText) 1 1",
    "1 \(idText) save xvdz \(diskText) 1 2 3", "1 \(idText) save xvdz \(diskText) 1",
    "1 \(idText) save xvdz 1 1", "1 \(idText) take xvdz \(diskText) 1 1",
    "1 \(idText) take xvdz \(diskText) 1 maybe 1", "1 \(idText) explode 1", "1 \(idText) idle",
    "1 \(idText) reset 1", "1 \(idText) reset 1 0", "1 \(idText) reset 1 3600001",
    "1 \(idText) cont", "1 \(idText) cont 01", "1 \(idText) keep 1 1",
  ])
  func `an offer that is not known`(text: String) {
    #expect(Offer.read([UInt8](text.utf8)) == .unknown(version: 1, id: Self.id))
  }

  @Test func `another version`() {
    for idle in ["1 idle", "3 idle"] {
      #expect(Offer.read([UInt8](idle.utf8)) == .message(.idle))
    }
    let offer = [UInt8]("3 \(Self.idText) what ever it says".utf8)
    #expect(Offer.read(offer) == .unknown(version: 3, id: Self.id))
    let answer = [UInt8]("3 \(Self.idText) committed".utf8)
    #expect(Answer.read(answer) == .unknown(version: 3, id: Self.id))
  }

  @Test(arguments: [
    "1 \(idText)", "1 \(idText) committed 1", "1 \(idText) committed 1 happy",
    "1 \(idText) failed 0 0 running qemu", "1 \(idText) failed 256 0 running qemu",
    "1 \(idText) failed 7 running", "1 \(idText) failed 7 0 running",
    "1 \(idText) failed 7 0 running because", "1 \(idText) ready 1", "1 \(idText) accepted 0",
    "1 idle", "1 \(idText) loaded", "1 \(idText) progress 1 2", "1 \(idText) progress 1",
  ])
  func `nonsense in an answer`(text: String) {
    #expect(Answer.read([UInt8](text.utf8)) == .nonsense)
  }

  @Test func `length`() {
    #expect(Offer.read([]) == .nothing)
    #expect(Answer.read([]) == .nothing)
    #expect(Offer.read([UInt8](repeating: 0x31, count: 256)) == .nonsense)
    #expect(Answer.read([UInt8](repeating: 0x20, count: 100_000)) == .nonsense)
  }

  @Test func `open files by name`() {
    #expect(Self.file.openFile == 7)
    #expect(Self.device("fd:1048576").openFile == 1_048_576)
    for text in ["fd:", "fd:01", "fd:1048577", "fd:x", "xvdz", "fd", "fd:99999999999999999999"] {
      #expect(Self.device(text).openFile == nil)
    }
  }

  @Test func `nothing traps`() {
    var generator = SeededGenerator(seed: 11)
    for (_, text) in Self.offers.map({ (0, $0.1) }) + Self.answers.map({ (0, $0.1) }) {
      let bytes = [UInt8](text.utf8)
      for index in bytes.indices {
        for _ in 0..<20 {
          var damaged = bytes
          damaged[index] = UInt8(generator.next() & 0xFF)
          _ = Offer.read(damaged)
          _ = Answer.read(damaged)
        }
        _ = Offer.read([UInt8](bytes[..<index]))
        _ = Answer.read([UInt8](bytes[..<index]))
      }
    }
  }
}
