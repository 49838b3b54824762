import Rendezvous
import SaveDisk
import Testing

// Invariants, line by line of the table in formats/rendezvous.md, section 3:
// - an offer is begun once, however often it is seen, also after it has been answered;
// - a new one ends the one under way first; idle ends it without an answer;
// - what is not known is answered once, and what is nonsense not at all;
// - only the offer under way is answered by the work's end.

@Suite struct AgentMachineTests {
  static let verb = Verb.save(MessageTests.disk(MessageTests.xvdz), maxBytes: 1)
  static let first = Bytes16(first: 1, last: 1)
  static let second = Bytes16(first: 2, last: 2)

  private func offer(_ id: Bytes16) -> AgentMachine.Event {
    .offer(.message(.wanted(Self.wanted(id))))
  }

  static func wanted(_ id: Bytes16) -> Wanted { Wanted(id: id, verb, milliseconds: 1) }

  @Test func `an offer is begun once`() {
    var machine = AgentMachine()
    let begun: [AgentMachine.Action] = [
      .answer(.of(id: Self.first, .accepted)), .begin(Self.wanted(Self.first)),
    ]
    #expect(machine.handle(offer(Self.first)) == begun)
    #expect(machine.handle(offer(Self.first)) == [])
    #expect(
      machine.handle(.progressed(bytes: 5, .stopped))
        == [.answer(.of(id: Self.first, .progress(bytes: 5, .stopped)))])
    let end = AnswerKind.committed(diskBytes: 8192, .stopped)
    #expect(machine.handle(.finished(end)) == [.answer(.of(id: Self.first, end))])
    #expect(machine.handle(offer(Self.first)) == [])
    #expect(machine.handle(.finished(end)) == [])
    #expect(machine.handle(.progressed(bytes: 6, .running)) == [])
    #expect(machine.state == .answered(id: Self.first))
    // Withdrawn and offered again with the same id: dom0 does not, and it would be begun anew.
    #expect(machine.handle(.offer(.message(.idle))) == [])
    #expect(machine.handle(offer(Self.first)) == begun)
  }

  @Test func `a new offer ends the one under way`() {
    var machine = AgentMachine()
    _ = machine.handle(offer(Self.first))
    #expect(
      machine.handle(offer(Self.second)) == [
        .stop, .answer(.of(id: Self.second, .accepted)), .begin(Self.wanted(Self.second)),
      ])
    #expect(machine.handle(.offer(.nothing)) == [.stop])
    #expect(machine.state == .idle)
  }

  @Test func `what is not known is answered once`() {
    var machine = AgentMachine()
    _ = machine.handle(offer(Self.first))
    let unknown = AgentMachine.Event.offer(.unknown(version: 9, id: Self.second))
    #expect(
      machine.handle(unknown) == [.stop, .answer(.unsupported(id: Self.second, version: 2))])
    #expect(machine.handle(unknown) == [])
    #expect(machine.handle(.offer(.nonsense)) == [])
    #expect(machine.state == .answered(id: Self.second))
  }

  @Test func `it answers in the version of the offer`() {
    var machine = AgentMachine()
    for version in [UInt32(2), 1] {
      let wanted = Wanted(
        id: Bytes16(first: UInt64(version), last: 9), version: version, Self.verb, milliseconds: 1)
      _ = machine.handle(.offer(.message(.wanted(wanted))))
      #expect(machine.version == version)
    }
  }

  @Test func `an agent of version 1 says so, once`() {
    var machine = AgentMachine(highest: 1)
    #expect(
      machine.handle(offer(Self.first)) == [.answer(.unsupported(id: Self.first, version: 1))])
    #expect(machine.handle(offer(Self.first)) == [])
    let older = Wanted(id: Self.second, version: 1, Self.verb, milliseconds: 1)
    #expect(
      machine.handle(.offer(.message(.wanted(older)))) == [
        .answer(.of(id: Self.second, .accepted)), .begin(older),
      ])
  }

  @Test func `nonsense changes nothing`() {
    var machine = AgentMachine()
    _ = machine.handle(offer(Self.first))
    #expect(machine.handle(.offer(.nonsense)) == [])
    #expect(machine.state == .working(id: Self.first))
  }

  @Test func `the carrier's end`() {
    var machine = AgentMachine()
    _ = machine.handle(offer(Self.first))
    #expect(machine.handle(.carrierGone) == [.stop, .release])
    #expect(machine.handle(offer(Self.second)) == [])
    #expect(machine.state == .ended)
  }
}
