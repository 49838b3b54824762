import SaveDisk

@testable import Rendezvous

/// What is in a cell, read as either side reads it. There is one spelling of every message.
@c(stubsave_fuzz_messages)
public func fuzzMessages(_ bytes: UnsafePointer<UInt8>?, _ count: Int) {
  let message = unsafe Input(bytes, count).array
  switch Answer.read(message) {
  case .message(let answer):
    require(answer.encoded(version: version(message)) == message, "an answer with two spellings")
    var machine = OfferMachine(Wanted(id: answer.id, .cont, milliseconds: 1))
    machine.handle(.answer(.message(answer)))
    _ = (machine.owesCont, machine.leavesGuestStopped)
    if case .of(_, .failed(_, _, _, _, words: let words?)) = answer {
      require(words.bytes.allSatisfy { $0 >= 0x20 && $0 < 0x7F }, "words for a terminal")
      require(words.bytes.count <= AgentWords.maxBytes, "many words")
    }
  case .nothing: require(message.isEmpty, "something that is nothing")
  case .unknown(let version, _): require(!RendezvousVersion.isKnown(version), "known")
  case .nonsense: break
  }
  switch Offer.read(message) {
  case .message(.idle): require(message.suffix(5).elementsEqual(" idle".utf8), "not idle")
  case .message(let offer): require(offer.encoded() == message, "an offer with two spellings")
  case .nothing: require(message.isEmpty, "something that is nothing")
  case .unknown, .nonsense: break
  }
  if let device = DeviceName(message) {
    require(device.bytes.count <= DeviceName.maxBytes, "a long name")
    if let number = device.openFile {
      require(DeviceName(openFile: number) == device, "a number with two spellings")
    }
  }
  if let number = Decimal.read(message[...]) {
    var text = PlainText()
    text.append(number)
    require(text.bytes == message, "a number with two spellings")
  }
  if let fields = MessageFields(message) {
    require(fields.count >= 1 && fields.count <= 128, "\(fields.count) fields")
  }
  var text = PlainText()
  text.append(escaping: message)
  if let words = AgentWords(text) {
    require(AgentWords(words.bytes) == words, "words that are none")
  } else {
    require(message.allSatisfy { $0 == 0x20 }, "nothing of something")
  }
}

/// As the first field says.
private func version(_ message: [UInt8]) -> UInt32 {
  MessageFields(message)?.version ?? RendezvousVersion.current
}
