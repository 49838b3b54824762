import CXenConsole
import SystemIO

/// A console's ring page: what a domain has written, each byte once, whatever it does to the page meanwhile.
@safe struct ConsoleRing {
  static let maxBytes = 2048

  private let page: UnsafeMutableRawPointer
  private var taken: UInt32

  /// - Parameter page: must live as long as this.
  @unsafe init(page: UnsafeMutableRawPointer) {
    unsafe self.page = page
    taken = unsafe stubsave_console_taken(page)
  }

  /// What has come since; empty if nothing has. Nil if the domain's index was impossible: all up to it is
  /// passed over.
  mutating func take() -> [UInt8]? {
    var result = 0
    let bytes = unsafe [UInt8](unsafeUninitializedCapacity: Self.maxBytes) { buffer, count in
      result = unsafe stubsave_console_take(page, &taken, buffer.baseAddress, Self.maxBytes)
      count = max(result, 0)
    }
    return result < 0 ? nil : bytes
  }
}

/// The first console of a PV domain, its log, from dom0's side: mapped, and bound to its event channel.
///
/// One process only can be bound to it: a QEMU or xenconsoled that serves it keeps others out.
@safe public struct DomainConsole: ~Copyable {
  private let grants: OpaquePointer
  private let events: OpaquePointer
  private let page: UnsafeMutableRawPointer
  private let port: evtchn_port_t
  private var ring: ConsoleRing

  /// - Parameter port: of the domain's, as its `port` node says.
  public init(domid: UInt32, port: UInt32) throws(XenError) {
    guard let grants = unsafe xengnttab_open(nil, 0) else { throw Self.failure(.open) }
    guard let page = unsafe stubsave_console_map(grants, domid) else {
      let error = Self.failure(.ioctl)
      _ = unsafe xengnttab_close(grants)
      throw error
    }
    guard let events = unsafe xenevtchn_open(nil, 0) else {
      let error = Self.failure(.open)
      // Takes the mapping with it.
      _ = unsafe xengnttab_close(grants)
      throw error
    }
    let bound = unsafe xenevtchn_bind_interdomain(events, domid, port)
    guard bound >= 0 else {
      let error = Self.failure(.ioctl)
      _ = unsafe xenevtchn_close(events)
      _ = unsafe xengnttab_close(grants)
      throw error
    }
    unsafe self.grants = grants
    unsafe self.events = events
    unsafe self.page = page
    self.port = evtchn_port_t(bound)
    ring = unsafe ConsoleRing(page: page)
  }

  deinit {
    _ = unsafe xenevtchn_close(events)
    _ = unsafe xengnttab_unmap(grants, page, 1)
    _ = unsafe xengnttab_close(grants)
  }

  private static func failure(_ call: SystemCall) -> XenError {
    .system(SystemError(call, errno: SystemError.lastNumber))
  }

  /// To be waited for: readable when something may have come.
  public var number: Int32 { unsafe xenevtchn_fd(events) }

  /// Takes the event, before what has come is taken.
  public mutating func takeEvent() {
    let pending = unsafe xenevtchn_pending(events)
    if pending >= 0 { _ = unsafe xenevtchn_unmask(events, evtchn_port_t(pending)) }
  }

  /// See `ConsoleRing.take`; the domain is told that there is room.
  public mutating func take() -> [UInt8]? {
    let bytes = ring.take()
    if bytes?.isEmpty != true { _ = unsafe xenevtchn_notify(events, port) }
    return bytes
  }
}
