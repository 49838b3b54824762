/// One use of a loop device: its number is given again and again, its sequence number never
/// (linux/block/genhd.c, inc_diskseq; since Linux 5.15).
public struct LoopIdentity: Equatable, Sendable {
  public let minor: UInt32
  public let sequence: UInt64

  /// From Documentation/admin-guide/devices.txt.
  public static let major: UInt32 = 7
  private static let maxDigits = 32

  public init(minor: UInt32, sequence: UInt64) {
    self.minor = minor
    self.sequence = sequence
  }

  /// The use that the kernel makes of it now; nil if there is none, or none can be told.
  public static func current(minor: UInt32) -> LoopIdentity? {
    let folder = SystemPath(word: "/sys/block/loop")
    let number = SystemPath(word: "", number: UInt64(minor))
    guard (try? FileStatus.of(folder.joined(number, "/loop/backing_file"))) != nil,
      let text = try? read(folder.joined(number, "/diskseq"))
    else { return nil }
    let digits = text.prefix { UInt8(ascii: "0") <= $0 && $0 <= UInt8(ascii: "9") }
    guard let sequence = UInt64(String(decoding: digits, as: UTF8.self)) else { return nil }
    return LoopIdentity(minor: minor, sequence: sequence)
  }

  private static func read(_ path: SystemPath) throws(SystemError) -> [UInt8] {
    let file = try FileDescriptor.open(path, .read)
    var buffer = AlignedBuffer(byteCount: maxDigits)
    var piece = buffer.mutableBytes(0..<maxDigits)
    let count = try file.read(into: &piece, from: 0)
    return buffer.array(0..<count)
  }

  /// Waits until the kernel has taken the file away from the device, or the device serves another.
  ///
  /// - Returns: whether it has, before the deadline.
  public func isOver(by deadline: Deadline) -> Bool {
    while true {
      if LoopIdentity.current(minor: minor) != self { return true }
      if deadline.hasPassed { return false }
      // sysfs tells nobody of this.
      guard (try? MonotonicClock.pause(milliseconds: 2)) != nil else { return false }
    }
  }
}
