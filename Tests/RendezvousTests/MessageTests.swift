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
    (.idle, "1 idle"),
    (wanted(.reset(maxBytes: 67_108_864), 1), "1 \(idText) reset 67108864 1"),
    (wanted(.save(disk(xvdz), maxBytes: 1)), "1 \(idText) save xvdz \(diskText) 1 60000"),
    (
      wanted(.load(disk(xvdz), maxBytes: 1 << 62), 3_600_000),
      "1 \(idText) load xvdz \(diskText) 4611686018427387904 3600000"
    ),
    (
      wanted(.take(disk(file), maxBytes: 0, .paused)),
      "1 \(idText) take fd:7 \(diskText) 0 paused 60000"
    ),
    (
      wanted(.take(disk(file), maxBytes: 9, .pause)),
      "1 \(idText) take fd:7 \(diskText) 9 pause 60000"
    ),
    (
      wanted(.take(disk(file), maxBytes: 10, .keep)),
      "1 \(idText) take fd:7 \(diskText) 10 keep 60000"
    ),
    (wanted(.cont), "1 \(idText) cont 60000"), (wanted(.keep), "1 \(idText) keep 60000"),
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
      (.of(id: id, .accepted), "1 \(idText) accepted"),
      (.of(id: id, .ready), "1 \(idText) ready"),
      (.of(id: id, .progress(bytes: 4096, .unknown)), "1 \(idText) progress 4096 unknown"),
      (.of(id: id, .progress(bytes: 0, .stopped)), "1 \(idText) progress 0 stopped"),
      (.of(id: id, .committed(diskBytes: 8192, .paused)), "1 \(idText) committed 8192 paused"),
      (.of(id: id, .committed(diskBytes: 8192, .running)), "1 \(idText) committed 8192 running"),
      (.of(id: id, .committed(diskBytes: 8192, .stopped)), "1 \(idText) committed 8192 stopped"),
      (.of(id: id, .loaded(stateBytes: 5)), "1 \(idText) loaded 5"),
      (.unsupported(id: id, version: 3), "3 \(idText) unsupported"),
    ]
    + FailureReason.allCases.map { reason in
      (
        .of(id: id, .failed(code: 7, neededBytes: 12288, .unknown, reason)),
        "1 \(idText) failed 7 12288 unknown \(reason)"
      )
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
      .take(Self.disk(Self.device(String(repeating: "z", count: 32))), maxBytes: 1 << 62, .paused),
      Wanted.maxMilliseconds)
    #expect(longest.encoded(version: 65_535).count <= 255)
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
    #expect(Offer.read([UInt8]("2 idle".utf8)) == .message(.idle))
    let offer = [UInt8]("2 \(Self.idText) what ever it says".utf8)
    #expect(Offer.read(offer) == .unknown(version: 2, id: Self.id))
    let answer = [UInt8]("2 \(Self.idText) committed".utf8)
    #expect(Answer.read(answer) == .unknown(version: 2, id: Self.id))
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
