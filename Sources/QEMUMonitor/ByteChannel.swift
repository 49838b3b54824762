import SystemIO

/// A channel over which bytes come and go, and which can be lost. Nothing here waits: whoever has it
/// waits for what `interest` says, and then takes and sends what can be taken and sent.
///
/// Bytes may be there, or room for them, without the descriptor saying so again: take until there
/// is nothing, send until there is no room, and only then wait.
public protocol ByteChannel: ~Copyable {
  /// What to wait for, with poll(2). The loss of the channel ends that wait, too, whatever is asked for.
  ///
  /// - Parameters:
  ///   - toTake: until bytes have come.
  ///   - toSend: until there is room for bytes.
  borrowing func interest(toTake: Bool, toSend: Bool) -> Readable.Interest

  /// Takes what has come, into `buffer` from `start` on.
  ///
  /// - Returns: how many bytes; nil if none are there now, 0 once the channel is lost.
  mutating func take(
    into buffer: inout MutableRawSpan, from start: Int
  ) throws(SystemError) -> Int?

  /// Sends what there is room for.
  ///
  /// - Returns: how many bytes; 0 if there is no room now.
  /// - Throws: what `SystemError.meansClosed` once the channel is lost.
  mutating func send(_ bytes: RawSpan) throws(SystemError) -> Int
}

extension UnixSocket: ByteChannel {
  public borrowing func interest(toTake: Bool, toSend: Bool) -> Readable.Interest {
    Readable.Interest(number, toRead: toTake, toWrite: toSend)
  }

  public mutating func take(
    into buffer: inout MutableRawSpan, from start: Int
  ) throws(SystemError) -> Int? {
    try receive(into: &buffer, from: start)
  }

  public mutating func send(_ bytes: RawSpan) throws(SystemError) -> Int {
    try send(bytes, passing: nil)
  }
}
