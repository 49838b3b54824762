import SaveDisk

/// A section of a state: one device, by the name and numbers that QEMU gives it.
public struct StateSection: Equatable, Sendable {
  /// By its first byte (migration/savevm.h).
  public enum Kind: UInt8, Sendable {
    /// Of what is saved in pieces, RAM first of all.
    case start = 1
    case part = 2
    case lastPart = 3
    /// All of a device.
    case full = 4
  }

  public let kind: Kind
  /// Of the section's first byte, from the start of the state.
  public let offset: UInt64
  public let id: UInt32
  /// Bytes from the state: to be escaped when shown. A part has that of its start.
  public let name: [UInt8]
  public let instance: UInt32
  public let version: UInt32
  public let headerBytes: Int
  /// Up to the next section, its footer left out.
  public let payloadBytes: UInt64
  /// QEMU's footer ends it. Without one, its end is where something looks like the next section.
  public let isFramed: Bool

  public init(
    kind: Kind = .full, offset: UInt64, id: UInt32, name: [UInt8], instance: UInt32,
    version: UInt32, headerBytes: Int, payloadBytes: UInt64, isFramed: Bool = false
  ) {
    self.kind = kind
    self.offset = offset
    self.id = id
    self.name = name
    self.instance = instance
    self.version = version
    self.headerBytes = headerBytes
    self.payloadBytes = payloadBytes
    self.isFramed = isFramed
  }
}
