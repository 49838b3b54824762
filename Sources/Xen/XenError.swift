import SaveDisk
import SystemIO
import Xenstore

/// Why something was not done with a domain.
public enum XenError: Error, Equatable, Sendable {
  case xenstore(XenstoreError)
  case system(SystemError)
  /// There is no such domain.
  case noDomain
  /// The domain is no stubdomain, and has none.
  case noStubdomain
  /// Several domains have the name: their domids.
  case ambiguous([UInt32])
  /// All the names that a save disk may have there are taken.
  case noFreeDevice
  /// No save disk of ours is attached there under that name.
  case notAttached
  /// The domain's kernel did not connect to the disk in time; the back end's last state.
  case notConnected(state: UInt32)
  case domainGone
  case interrupted
  /// The hypervisor takes none of the versions of its interface that are known here.
  case hypervisorUnknown
}

extension PlainText {
  public mutating func append(_ error: XenError) {
    switch error {
    case .xenstore(let error): append(error)
    case .system(let error): append(escaping: error.text)
    case .noDomain: append("there is no such domain")
    case .noStubdomain: append("is no stubdomain, and has none")
    case .ambiguous(let domids):
      append("several domains have that name:")
      for domid in domids {
        append(" ")
        append(UInt64(domid))
      }
      append("; name one by its domid")
    case .noFreeDevice: append("the names xvdq to xvdz are all taken there")
    case .notAttached: append("no save disk is attached there under that name")
    case .notConnected(let state):
      append("the stubdomain did not connect to the disk in time (back end state ")
      append(UInt64(state))
      append("); does its kernel have blkfront?")
    case .domainGone: append("the domain has ended")
    case .interrupted: append("interrupted by a signal")
    case .hypervisorUnknown: append("the hypervisor's interface is of an unknown version")
    }
  }
}

/// Runs `body`; an error of xenstore becomes one of a domain.
func onXenstore<R: ~Copyable>(
  _ body: () throws(XenstoreError) -> R
) throws(XenError) -> R {
  do throws(XenstoreError) { return try body() } catch { throw .xenstore(error) }
}
