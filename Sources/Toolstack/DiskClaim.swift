import SaveDisk
import SystemIO
import Transfer

/// Says that a block device is a save disk: `/run/stubsave/disk-MAJOR:MINOR`.
///
/// As long as it is there udev's rules leave the device alone (59-stubsave.rules), its bytes count
/// among those of all disks, and its lock says whether its owner lives.
public struct DiskClaim: ~Copyable {
  private let file: OwnedFile
  /// How many there have been before since dom0 was started.
  let ordinal: UInt64

  static let prefix = "disk-"
  /// Of all disks on this machine together, unless the user says otherwise: their bytes are dom0's
  /// memory at worst.
  public static let defaultMaxSumBytes: UInt64 = 1 << 30

  /// - Parameters:
  ///   - maxSumBytes: for all disks together, this one too.
  ///   - turn: one at a time: else two could each find room for one, or the same free device.
  static func make(
    _ device: FileStatus, bytes: UInt64, maxSumBytes: UInt64, _ turn: borrowing DiskTurn
  ) throws(ToolError) -> DiskClaim {
    let taken = DiskClaim.takenBytes(except: device)
    let (sum, overflow) = taken.addingReportingOverflow(bytes)
    guard !overflow && sum <= maxSumBytes else {
      throw ToolError(taken == 0 ? .overLimit : .busy, nil) { text in
        text.append("a disk of ")
        text.append(bytes)
        text.append(" bytes would make ")
        text.append(overflow ? .max : sum)
        text.append(" with those in use; --max-disks allows ")
        text.append(maxSumBytes)
      }
    }
    let file = try OwnedFile.claim(
      DiskClaim.path(device), busy: "another stubsave uses this device as its disk")
    var text = PlainText()
    text.append(bytes)
    try file.say(text)
    return DiskClaim(file: file, ordinal: try turn.count())
  }

  private init(file: consuming OwnedFile, ordinal: UInt64) {
    self.file = file
    self.ordinal = ordinal
  }

  /// The claim outlives this command: somebody else ends it.
  consuming func keep() { file.keep() }

  /// Ends the claim on a device that another command has kept.
  static func end(_ device: (major: UInt32, minor: UInt32)) {
    try? Names.remove(path(device))
  }

  static func path(_ device: FileStatus) -> SystemPath { path(device.majorMinor) }

  private static func path(_ device: (major: UInt32, minor: UInt32)) -> SystemPath {
    var name = PlainText()
    name.append("disk-")
    name.append(UInt64(device.major))
    name.append(":")
    name.append(UInt64(device.minor))
    return RuntimeDirectory.entry(name)
  }

  /// Ends the claims without a living owner.
  ///
  /// - Parameter inUse: "7:0": devices that stubdomains have.
  /// - Returns: those that have been ended, in the same form.
  static func endOrphans(except inUse: [String]) -> [String] {
    var ended: [String] = []
    for entry in RuntimeDirectory.entries(prefix) where !inUse.contains(entry) {
      // Dropped at once, which removes it.
      if (try? OwnedFile.claim(path(entry), busy: "")) != nil { ended.append(entry) }
    }
    return ended
  }

  private static func path(_ majorMinor: String) -> SystemPath {
    var name = PlainText()
    name.append("disk-")
    name.append(escaping: majorMinor.utf8)
    return RuntimeDirectory.entry(name)
  }

  /// Of all the others. A claim on a loop device that the kernel has taken away is what a command
  /// left that was killed.
  private static func takenBytes(except device: FileStatus) -> UInt64 {
    var sum: UInt64 = 0
    for entry in RuntimeDirectory.entries(prefix) {
      let path = path(entry)
      if path.bytes == self.path(device).bytes { continue }
      if isGoneLoopDevice(entry) {
        // Dropped at once, which removes it.
        _ = try? OwnedFile.claim(path, busy: "")
        continue
      }
      let bytes = UInt64(String(decoding: OwnedFile.look(at: path) ?? [], as: UTF8.self)) ?? 0
      sum = sum.addingReportingOverflow(bytes).overflow ? .max : sum + bytes
    }
    return sum
  }

  /// - Parameter majorMinor: "7:0".
  private static func isGoneLoopDevice(_ majorMinor: String) -> Bool {
    let words = majorMinor.split(separator: ":")
    guard words.count == 2, words[0] == "7", let minor = UInt64(words[1]) else { return false }
    return
      (try? LoopDevice.isGone(
        SystemPath(word: "/dev/loop", number: minor), by: Deadline(timeoutMilliseconds: 0))) == true
  }
}
