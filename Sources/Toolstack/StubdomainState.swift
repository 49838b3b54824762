import SaveDisk
import SystemIO
import Transfer
import Xen

/// A stubdomain that does not run answers nobody: that is said at once, and not at a deadline. Qubes OS pauses
/// and suspends stubdomains together with their guests.
enum StubdomainState {
  /// As Xen has it; nil where Xen cannot be asked, as in tests over xenstore alone.
  static func look(_ domid: UInt32) -> DomainState? {
    guard Hypervisor.isHere, var hypervisor = try? Hypervisor.open() else { return nil }
    return try? hypervisor.state(domid: domid)
  }

  /// - Parameter mayBePaused: libxl pauses a stubdomain that it is going to start.
  static func requireRunning(
    _ state: DomainState?, _ domid: UInt32, _ place: SystemPath, mayBePaused: Bool
  ) throws(ToolError) {
    guard let state, !mayBePaused || state != .paused, let words = words(state, domid) else {
      return
    }
    throw ToolError(.stubdomainFailed, place) { $0.append(words) }
  }

  /// Nil if it runs.
  static func words(_ state: DomainState, _ domid: UInt32) -> PlainText? {
    var text = PlainText()
    text.append("the stubdomain ")
    switch state {
    case .runs: return nil
    case .paused:
      text.append("is paused; `xl unpause ")
      text.append(UInt64(domid))
      text.append("` lets it go on")
    case .suspended:
      text.append("is suspended; whoever has done that lets it go on (`xl resume ")
      text.append(UInt64(domid))
      text.append("`)")
    case .shutDown: text.append("has shut down")
    }
    return text
  }

  /// An error of what was waited for in vain, with the reason, if that is one.
  static func explain(_ error: ToolError, _ domid: UInt32) -> ToolError {
    guard error.status == .deadline, let state = look(domid), let words = words(state, domid)
    else { return error }
    var text = PlainText()
    text.append(": ")
    text.append(words)
    return ToolError(error, and: text)
  }
}
