import CXenCall
import SaveDisk
import SystemIO

/// Xen itself, through dom0's /dev/xen/privcmd: whether a guest's processors run, and stopping them.
///
/// QEMU's `stop` does not: under Xen it stops devices only, and a guest that ran on would find none.
@safe public struct Hypervisor: ~Copyable {
  private let handle: OpaquePointer
  private var interfaceVersion: UInt32

  /// xen/include/public/domctl.h and xen.h. The layout of what is used here has been the same since
  /// Xen 4.6; the version is checked by Xen before anything else (EACCES).
  private enum Domctl {
    static let pause: UInt32 = 3
    static let unpause: UInt32 = 4
    static let info: UInt32 = 5
    static let versions: ClosedRange<UInt32> = 0x0C...0x1F
    /// Of 4.17, which is tried first.
    static let likelyVersion: UInt32 = 0x15
    /// XEN_DOMINF_dying; the others are `DomainState`'s.
    static let dying: UInt32 = 1 << 0
  }

  /// The way to it.
  public static let device = SystemPath(word: "/dev/xen/privcmd")

  /// Whether there is one that could be asked.
  public static var isHere: Bool { (try? FileStatus.of(device)) != nil }

  /// - Throws: `.system` if this is no dom0, or one may not.
  public static func open() throws(XenError) -> Hypervisor {
    // xencall_open tells no reason; this does.
    do throws(SystemError) {
      try FileDescriptor.open(device, .readWrite).close()
    } catch {
      throw .system(error)
    }
    // XENCALL_OPENFLAG_NON_REENTRANT: one thread has it.
    guard let handle = unsafe xencall_open(nil, 1) else {
      throw .system(SystemError(.open, errno: Errno.ioError))
    }
    return unsafe Hypervisor(handle: handle, interfaceVersion: Domctl.likelyVersion)
  }

  private init(handle: OpaquePointer, interfaceVersion: UInt32) {
    unsafe self.handle = handle
    self.interfaceVersion = interfaceVersion
  }

  deinit { _ = unsafe xencall_close(handle) }

  /// Whether a domain's processors stand: it is paused, or has been suspended.
  public mutating func stands(domid: UInt32) throws(XenError) -> Bool {
    try state(domid: domid) != .runs
  }

  public mutating func state(domid: UInt32) throws(XenError) -> DomainState {
    let reply = try domctl(Domctl.info, domid)
    guard reply.domid == domid, reply.flags & Domctl.dying == 0 else { throw .noDomain }
    return DomainState(flags: reply.flags)
  }

  /// Pauses are counted: each is to be followed by one `unpause`.
  public mutating func pause(domid: UInt32) throws(XenError) {
    _ = try domctl(Domctl.pause, domid)
  }

  public mutating func unpause(domid: UInt32) throws(XenError) {
    _ = try domctl(Domctl.unpause, domid)
  }

  /// The first of what `info` gives.
  private struct Reply {
    let domid: UInt32
    let flags: UInt32
  }

  private mutating func domctl(_ command: UInt32, _ domid: UInt32) throws(XenError) -> Reply {
    do throws(XenError) {
      return try domctl(command, domid, interfaceVersion)
    } catch {
      guard error == .hypervisorUnknown else { throw error }
    }
    for version in Domctl.versions {
      do throws(XenError) {
        let reply = try domctl(command, domid, version)
        interfaceVersion = version
        return reply
      } catch {
        guard error == .hypervisorUnknown else { throw error }
      }
    }
    throw .hypervisorUnknown
  }

  private func domctl(
    _ command: UInt32, _ domid: UInt32, _ version: UInt32
  ) throws(XenError) -> Reply {
    var found: UInt16 = 0
    var flags: UInt32 = 0
    let result = unsafe stubsave_domctl(
      handle, command, version, UInt16(truncatingIfNeeded: domid), &found, &flags)
    switch Int32(-result) {
    case 0: return Reply(domid: UInt32(found), flags: flags)
    case Errno.accessDenied: throw .hypervisorUnknown
    case Errno.noProcess: throw .noDomain
    case let number: throw .system(SystemError(.ioctl, errno: number))
    }
  }
}
