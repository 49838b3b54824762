import SystemIO
import Xenstore

/// One side's view of the two cells (formats/rendezvous.md, section 1): it writes one and reads
/// the other.
public protocol Cells: ~Copyable {
  /// To be waited for by poll(2): readable when the other side's cell may have changed.
  var number: Int32 { get }
  /// What is in this side's own cell, from one that was there before; nil where none can have been.
  mutating func lookAtOwn() throws(CellError) -> [UInt8]?
  /// Empties the other side's cell, where it is this side's to do so.
  mutating func renew() throws(CellError)
  /// Removes the cells, where it is this side that has made them.
  mutating func end()
  /// Puts a message into this side's cell, in place of the one that is there.
  mutating func say(_ message: [UInt8]) throws(CellError)
  /// What is in the other side's cell, if that may have changed since the last look; nil if not.
  /// At most `MessageFields.maxBytes` and one byte of it. Does not wait.
  mutating func look() throws(CellError) -> [UInt8]?
}

public enum CellError: Error, Equatable, Sendable {
  /// The other side's process has ended, or its domain has.
  case gone
  case system(SystemError)
  case xenstore(XenstoreError)
}
