import Codecs
import Rendezvous
import SaveDisk
import SystemIO
import Xen

/// Where the agent is that has the QEMU.
public enum AgentPlace: Sendable {
  /// A process of our own on this machine, beside a QEMU on this machine.
  case process(agent: SystemPath, monitor: SystemPath)
  case stubdomain(StubdomainPlace)

  /// For messages.
  public var name: SystemPath {
    switch self {
    case .process(_, let monitor): monitor
    case .stubdomain(let place): place.name
    }
  }
}

/// A stubdomain.
public struct StubdomainPlace: Sendable {
  /// The stubdomain, or the guest whose QEMU it has.
  public let reference: DomainReference
  /// The disk's name there, if somebody else has attached it; nil attaches it.
  public var attached: DeviceName?
  /// The way to xenstored: its socket, or the kernel's device.
  public var xenstore = usualXenstore
  /// Of the save disks of this machine together, in bytes.
  public var maxSumBytes = DiskClaim.defaultMaxSumBytes

  /// Where dom0's xenstored listens, unless it has been told otherwise.
  private static let xenstored = SystemPath(word: "/run/xenstored/socket")
  /// Where a xenstore stubdomain has it, and dom0 is a domain as any other.
  private static let device = SystemPath(word: "/dev/xen/xenbus")

  /// The socket; the device if that is there and no socket is.
  public static var usualXenstore: SystemPath { usual(xenstored, device) }

  static func usual(_ socket: SystemPath, _ device: SystemPath) -> SystemPath {
    let isWithoutSocket = (try? FileStatus.of(socket)) == nil
    let kind = try? FileStatus.of(device).kind
    return isWithoutSocket && kind == .characterDevice ? device : socket
  }

  public init(_ reference: DomainReference) { self.reference = reference }

  /// For messages.
  public var name: SystemPath {
    switch reference {
    case .domid(let domid): SystemPath(word: "domain ", number: UInt64(domid))
    case .name(let name): SystemPath(bytes: [UInt8]("domain ".utf8) + name) ?? SystemPath(word: "")
    }
  }
}

/// What `dump` and `restore` are told alike.
public struct TransferSettings: Sendable {
  public var place: AgentPlace
  /// A device or allocated file to go over; nil is a disk of our own.
  public var disk: SystemPath?
  /// For what does not fit into memory.
  public var spoolDirectory: SystemPath
  public var setting = CodecSetting.auto
  /// For a header of our own; direction and limit are set here.
  public var header = HeaderOptions()
  public var maxStateBytes = ReaderLimits.defaultStateBytes
  /// For everything that the agent and QEMU do; at most `Wanted.maxMilliseconds`.
  public var timeoutMilliseconds: UInt64 = 60_000
  /// Of a save: what becomes of it if QEMU lists devices that it cannot save.
  public var blockers = BlockerPolicy.heed
  /// By which a user says that they are to be ignored, for messages.
  public var ignoreBlockersOption: StaticString = "--ignore-blockers"

  public init(_ place: AgentPlace, spoolDirectory: SystemPath) {
    self.place = place
    self.spoolDirectory = spoolDirectory
  }

  func carrying(_ direction: Direction) -> CarryOptions {
    var request = TransferDisk.Request(path: disk, spoolDirectory: spoolDirectory)
    request.options = header
    request.options.direction = direction
    request.options.allowedCodecs = setting.admitted
    if case .stubdomain(let place) = place {
      request.place = place.attached == nil ? .stubdomain : .attachedStubdomain
      request.maxSumBytes = place.maxSumBytes
      request.xenstore = place.xenstore
    }
    var options = CarryOptions(request: request, setting: setting, maxStateBytes: maxStateBytes)
    options.request.options.maxRawBytes = options.limits.maxStateBytes
    return options
  }
}
