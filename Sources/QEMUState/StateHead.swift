import SaveDisk
import SystemIO

/// What a state's first bytes say it is, by QEMU's own framing (migration/savevm.c): "QEVM", the
/// version, the configuration section if there is one, and the type of the first section.
///
/// `xen-save-devices-state` writes whole sections and nothing else; `migrate` and `savevm` begin with
/// a configuration section, a command or the start of a section that goes on, which is RAM's.
public struct StateHead: Equatable, Sendable {
  public enum Kind: UInt32, Sendable, CaseIterable {
    /// The first section is a whole one, of a device.
    case deviceState = 1
    /// Of `migrate` or `savevm`, with RAM.
    case migrationStream = 2
    /// What follows the header is no section.
    case noSection = 3
    /// No version that QEMU has loaded since 2009.
    case otherVersion = 4
    /// It does not begin with "QEVM".
    case notAState = 5
    /// It ends before its first section has begun.
    case cut = 6
  }

  public let kind: Kind
  /// Behind "QEVM"; 0 if that is not there.
  public let version: UInt32
  /// The machine's type, of the configuration section: bytes from the state, to be escaped when
  /// shown. Nil if there is no such section, as under Xen.
  public let machine: [UInt8]?
  /// Of the first section, or of where there should be one.
  public let offset: UInt64

  /// QEMU's names of machines are shorter.
  public static let maxMachineBytes = 256
  /// So many bytes are looked at: room for a configuration section with every capability.
  public static let maxBytes = 8192

  /// Of a file that could not be looked at.
  public static let unseen = StateHead(.notAState)

  init(_ kind: Kind, version: UInt32 = 0, machine: [UInt8]? = nil, offset: Int = 0) {
    self.kind = kind
    self.version = version
    self.machine = machine
    self.offset = UInt64(offset)
  }

  /// - Parameter stateBytes: of the state, at the file's start.
  public init(
    of file: borrowing FileDescriptor, stateBytes: UInt64
  ) throws(SystemError) {
    let count = Int(min(stateBytes, UInt64(StateHead.maxBytes)))
    if count == 0 {
      self.init(.notAState)
      return
    }
    var buffer = AlignedBuffer(byteCount: StateHead.maxBytes)
    try StateFile.read(file, at: 0, into: &buffer, count: count)
    self.init(parsing: buffer.bytes(0..<count))
  }

  /// - Parameter state: from its first byte; as much of it as there is.
  public init(parsing state: RawSpan) {
    var cursor = StateCursor(state)
    guard cursor.matches(StateHead.magic) else {
      self.init(.notAState)
      return
    }
    guard let version = cursor.uint32() else {
      self.init(.cut, offset: state.byteCount)
      return
    }
    guard version == StateHead.knownVersion else {
      self.init(.otherVersion, version: version, offset: StateHead.magic.utf8CodeUnitCount)
      return
    }
    var machine: [UInt8]?
    if cursor.peek == SectionMark.configuration {
      let start = cursor.position
      cursor.skip(1)
      guard let count = cursor.uint32(), count <= StateHead.maxMachineBytes,
        let name = cursor.bytes(Int(count))
      else {
        self.init(cursor.isAtEnd ? .cut : .noSection, version: version, offset: start)
        return
      }
      machine = name
      cursor.skipConfiguration()
    }
    self.init(
      cursor.kindOfFirstSection(), version: version, machine: machine, offset: cursor.position)
  }

  private static let magic: StaticString = "QEVM"
  /// QEMU_VM_FILE_VERSION.
  private static let knownVersion: UInt32 = 3
}

/// The first byte of what QEMU writes one after the other (migration/savevm.h).
enum SectionMark {
  static let end: UInt8 = 0x00
  static let start: UInt8 = 0x01
  static let part: UInt8 = 0x02
  static let lastPart: UInt8 = 0x03
  static let full: UInt8 = 0x04
  static let subsection: UInt8 = 0x05
  static let description: UInt8 = 0x06
  static let configuration: UInt8 = 0x07
  static let command: UInt8 = 0x08
  static let footer: UInt8 = 0x7E
}
