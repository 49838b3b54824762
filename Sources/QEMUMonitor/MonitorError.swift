import SaveDisk
import SystemIO

/// Why a conversation with QEMU's monitor came to its end.
public enum MonitorError: Error, Sendable {
  case system(SystemError)
  /// Nobody listens, or there is no such socket.
  case cannotConnect(SystemError)
  /// The time is over; what was waited for.
  case deadline(StaticString)
  /// A signal has come in that wants to end the process.
  case interrupted
  /// QEMU has closed the connection.
  case closed(StaticString)
  /// A line has more bytes than QMP's lines may have here.
  case lineTooLong
  case notJSON(JSONError)
  /// JSON, but nothing that QMP says at this place.
  case notQMP(StaticString)
  /// QEMU gave an error in place of a result; its own description, bytes from outside.
  case refused(command: StaticString, description: [UInt8])
  /// QEMU has not loaded its state; its own description, bytes from outside, if it gave one.
  case migrationFailed([UInt8]?)
  /// The time is over, and QEMU has not read all of its state.
  case notRead(UInt64, of: UInt64)
}

extension PlainText {
  public mutating func append(_ error: MonitorError) {
    switch error {
    case .system(let error):
      append("QMP: ")
      append(escaping: error.text)
    case .cannotConnect(let error):
      append("cannot connect to QEMU's monitor: ")
      append(escaping: error.text)
    case .deadline(let what):
      append("QEMU did not answer in time (waited for ")
      append(what)
      append("); --timeout sets how long")
    case .interrupted: append("interrupted by a signal")
    case .closed(let what):
      append("QEMU closed the connection (waited for ")
      append(what)
      append("); it may have ended: see its own messages")
    case .lineTooLong: append("QMP: a line of more than 1 MiB, which is none of QEMU's")
    case .notJSON(let error): append(error)
    case .notQMP(let what):
      append("QMP: ")
      append(what)
    case .refused(let command, let description):
      append("QEMU refused ")
      append(command)
      append(": ")
      append(escaping: description, maxBytes: 512)
    case .migrationFailed(let description):
      append("QEMU could not load the state: ")
      if let description, !description.isEmpty {
        append(escaping: description, maxBytes: 512)
      } else {
        append("see its own messages")
      }
    case .notRead(let done, let bytes):
      append("QEMU has not read its state in time: at most ")
      append(done)
      append(" of ")
      append(bytes)
      append(" bytes; --timeout sets how long")
    }
  }

  private mutating func append(_ error: JSONError) {
    append("QMP: what came is no JSON, at byte ")
    append(UInt64(error.offset))
    append(" of the line: ")
    switch error.reason {
    case .syntax: append("syntax")
    case .invalidUTF8: append("invalid UTF-8")
    case .controlCharacter: append("a control character")
    case .escape: append("an unknown escape")
    case .surrogate: append("half of a surrogate pair")
    case .duplicateName: append("a name that was there already")
    case .tooDeep: append("nested too deep")
    case .tooManyValues: append("too many values")
    case .trailing: append("something behind the value")
    case .numberTooLarge: append("an integer of more than 64 bits")
    }
  }
}
