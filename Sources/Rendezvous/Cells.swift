import SaveDisk
import SystemIO
import Xenstore

/// One side's view of the two cells (formats/rendezvous.md, section 1): it writes one and reads
/// the other.
public protocol Cells: ~Copyable {
  /// To be waited for by poll(2): readable when the other side's cell may have changed.
  var number: Int32 { get }
  /// Puts a message into this side's cell, in place of the one that is there.
  mutating func say(_ message: [UInt8]) throws(CellError)
  /// What is in the other side's cell, if that may have changed since the last look; nil if not.
  /// At most `MessageFields.maxBytes` and one byte of it. Does not wait.
  mutating func look() throws(CellError) -> [UInt8]?
}

/// dom0's view.
public protocol OfferingCells: Cells, ~Copyable {
  /// Empties the agent's cell.
  mutating func renew() throws(CellError)
  /// The last: nothing is offered any more.
  mutating func end()
}

/// The agent's view.
public protocol AnsweringCells: Cells, ~Copyable {
  /// What is in this side's own cell, from an agent that was there before; nil where none can have
  /// been.
  mutating func lookAtOwn() throws(CellError) -> [UInt8]?
}

public enum CellError: Error, Equatable, Sendable {
  /// The other side's process has ended, or its domain has.
  case gone
  case system(SystemError)
  case xenstore(XenstoreError)
}

extension PlainText {
  public mutating func append(_ error: CellError) {
    switch error {
    case .gone: append("the other side is gone")
    case .system(let error): append(escaping: error.text)
    case .xenstore(let error): append(error)
    }
  }
}

/// What both sides want of xenstored.
public enum XenstoreRequests {
  /// For one, or for a few in a row: xenstored serves every domain.
  public static let timeoutMilliseconds: UInt64 = 10_000
}

extension XenstoreConnection {
  /// The time for the next requests begins.
  mutating func wind() {
    deadline = Deadline(timeoutMilliseconds: XenstoreRequests.timeoutMilliseconds)
  }

  /// What is in a cell, and a byte more if it is too long for a message.
  mutating func cell(_ node: SystemPath) throws(XenstoreError) -> [UInt8] {
    [UInt8](try read(node).prefix(MessageFields.maxBytes + 1))
  }
}
