import Rendezvous
import SaveDisk
import Testing

// Invariants (formats/rendezvous.md, section 3.1): to whom a guest is owed a word by dom0, by what was
// said of it last and how the offer ended.

@Suite struct OfferMachineTests {
  static let wanted = Wanted(
    id: MessageTests.id, .take(MessageTests.disk(MessageTests.xvdz), maxBytes: 1, .pause),
    milliseconds: 1)

  private func machine(_ kinds: [AnswerKind]) -> OfferMachine {
    var machine = OfferMachine(Self.wanted)
    for kind in kinds { machine.handle(.answer(.message(.of(id: Self.wanted.id, kind)))) }
    return machine
  }

  private static let stopping = AnswerKind.progress(bytes: 0, .stopped)

  private static func failed(_ guest: GuestState) -> AnswerKind {
    .failed(code: 12, neededBytes: 0, guest, .foreign)
  }

  @Test func `a failure`() {
    // The one that has stopped it has tried; another one, that found it so, has not.
    #expect(!machine([Self.stopping, Self.failed(.stopped)]).owesCont)
    #expect(machine([Self.stopping, Self.failed(.stopped)]).leavesGuestStopped)
    #expect(!machine([Self.stopping, Self.failed(.paused)]).leavesGuestStopped)
    #expect(machine([Self.stopping, Self.failed(.paused)]).owesCont)
    #expect(machine([Self.stopping, Self.failed(.unknown)]).owesCont)
    #expect(!machine([Self.stopping, Self.failed(.running)]).owesCont)
    // Whose guest stood before.
    #expect(!machine([.accepted, Self.failed(.paused)]).owesCont)
  }

  @Test(arguments: [
    OfferMachine.Event.lastDeadline, .gone, .interrupted, .answer(.nonsense),
  ])
  func `no answer`(event: OfferMachine.Event) {
    for (kinds, isOwed) in [
      ([Self.stopping], true), ([.accepted], false), ([], false),
      ([Self.stopping, .progress(bytes: 0, .running)], false),
      ([Self.stopping, .progress(bytes: 9, .unknown)], true),
    ] {
      var ended = machine(kinds)
      #expect(!ended.owesCont, "not yet")
      ended.handle(event)
      #expect(ended.owesCont == isOwed)
    }
  }

  @Test func `what is said after the end`() {
    var ended = machine([.accepted])
    ended.handle(.lastDeadline)
    ended.hearLast(.message(.of(id: Bytes16(first: 9, last: 9), Self.stopping)))
    #expect(!ended.owesCont, "another's")
    ended.hearLast(.message(.of(id: Self.wanted.id, Self.stopping)))
    #expect(ended.owesCont)
    #expect(ended.ending == .deadline)
    ended.hearLast(.message(.of(id: Self.wanted.id, Self.failed(.running))))
    #expect(!ended.owesCont)
  }

  @Test func `once more in the agent's version`() {
    let other = Bytes16(first: 3, last: 3)
    func ended(_ kinds: [AnswerKind], _ version: UInt32) -> OfferMachine {
      var machine = machine(kinds)
      machine.handle(.answer(.message(.unsupported(id: Self.wanted.id, version: version))))
      return machine
    }
    let again = ended([], 1).inVersionOfAgent(id: other, milliseconds: 7)
    #expect(again == Wanted(id: other, version: 1, Self.wanted.verb, milliseconds: 7))
    // No lower one, none that is known, and a guest that another agent has stopped.
    for (kinds, version) in [
      ([], 2), ([], 3), ([], 65_535), ([], 0), ([Self.stopping], 1),
    ] as [([AnswerKind], UInt32)] {
      #expect(ended(kinds, version).inVersionOfAgent(id: other, milliseconds: 7) == nil)
    }
    #expect(ended([Self.stopping], 1).owesCont)
    #expect(machine([]).inVersionOfAgent(id: other, milliseconds: 7) == nil)
    // And not twice.
    var second = OfferMachine(Wanted(id: other, version: 1, .cont, milliseconds: 7))
    second.handle(.answer(.message(.unsupported(id: other, version: 1))))
    #expect(second.inVersionOfAgent(id: Self.wanted.id, milliseconds: 7) == nil)
  }
}
