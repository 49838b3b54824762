import SaveDisk

/// A virtual block device as a Linux guest names it, xvdq to xvdz.
///
/// Toolstacks give a guest's own disks the names from xvda on, and Qubes its kernel xvdd; the last
/// ten letters are those that nobody counts up to.
public struct VirtualDevice: Equatable, Sendable {
  /// 0 is xvda.
  private let disk: UInt32

  private static let last: UInt32 = 25
  /// From here on the numbers are of the extended form (xen-vbd-interface(7)).
  private static let first: UInt32 = 16

  /// All of them.
  public static let candidates = (first...last).reversed().map { VirtualDevice(disk: $0) }

  private init(disk: UInt32) { self.disk = disk }

  /// - Parameter name: "xvdz" and the like, without "/dev/".
  public init?(name: [UInt8]) {
    guard let found = VirtualDevice.candidates.first(where: { $0.name == name }) else {
      return nil
    }
    self = found
  }

  /// As xenstore's paths have it.
  public init?(number: UInt32) {
    guard let found = VirtualDevice.candidates.first(where: { $0.number == number }) else {
      return nil
    }
    self = found
  }

  public var name: [UInt8] { [UInt8]("xvd".utf8) + [UInt8(ascii: "a") + UInt8(disk)] }

  /// The front end's `virtual-device`: `1 << 28 | disk << 8` (xen-vbd-interface(7)).
  public var number: UInt32 { 1 << 28 | disk << 8 }
}
