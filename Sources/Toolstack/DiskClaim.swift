import SaveDisk
import SystemIO
import Transfer
import Xen

/// Says that a block device is a save disk: `/run/stubsave/disk-MAJOR:MINOR`.
///
/// As long as it is there udev's rules leave the device alone (59-stubsave.rules), and its bytes count
/// among those of all disks. It belongs to whoever has its lock, and is ended by him, or by somebody
/// who has locked it; of one that `attach` has left, `ClaimMark` says whose it is.
///
/// Claims are made, and those of others are ended, by one command at a time (`DiskTurn`).
public struct DiskClaim: ~Copyable {
  private var file: OwnedFile
  private var mark: ClaimMark
  /// How many there have been before since dom0 was started.
  let ordinal: UInt64

  static let prefix = "disk-"
  /// Of all disks on this machine together, unless the user says otherwise: their bytes are dom0's
  /// memory at worst.
  public static let defaultMaxSumBytes: UInt64 = 1 << 30

  /// An owner whose device is free, or could be opened, is at his end: the kernel closes a process'
  /// descriptors one after the other.
  private static let endMilliseconds: UInt64 = 1_000

  /// Names it in the nodes of a disk that is attached.
  var id: UInt64? { mark.id }

  /// - Parameters:
  ///   - maxSumBytes: for all disks together, this one too.
  ///   - turn: one at a time: else two could each find room for one, or the same free device.
  static func make(
    _ device: FileStatus, bytes: UInt64, maxSumBytes: UInt64, _ turn: borrowing DiskTurn
  ) throws(ToolError) -> DiskClaim {
    let taken = try DiskClaim.takenBytes(except: device, turn)
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
    let path = DiskClaim.path(device.majorMinor)
    let end = Deadline(timeoutMilliseconds: endMilliseconds)
    let file = try OwnedFile.claim(
      path, busy: "another stubsave uses this device as its disk", waiting: end, forOwner: end)
    let mark = ClaimMark(
      id: try attempt(path) { () throws(SystemError) in try Randomness.words().0 }, bytes: bytes)
    try file.say(mark.text)
    return DiskClaim(file: file, mark: mark, ordinal: try turn.count())
  }

  private init(file: consuming OwnedFile, mark: ClaimMark, ordinal: UInt64) {
    self.file = file
    self.mark = mark
    self.ordinal = ordinal
  }

  /// The loop device is there. The claim outlives it: what the kernel still has is not to be looked
  /// into either. Where that cannot be written down, others go by the nodes alone.
  mutating func isUsed(by loop: LoopIdentity) {
    file.outlives = loop
    mark.sequence = loop.sequence
    try? file.say(mark.text)
  }

  /// The claim outlives this command: somebody else ends it.
  consuming func keep() { file.keep() }

  // MARK: Those of others

  /// Ends the claim on a disk that has been attached and is no more, if it is still that disk's: the
  /// device may serve another one by now. What cannot be ended now is left to `gc`.
  static func end(of disk: AttachedDisk) throws(ToolError) {
    guard let device = disk.majorMinor else { return }
    let path = path(device)
    let deadline = Deadline(timeoutMilliseconds: endMilliseconds)
    guard let said = OwnedFile.look(at: path), ClaimMark(said).isOf(disk) else { return }
    if let loop = ClaimMark(said).loop(device) { guard loop.isOver(by: deadline) else { return } }
    let turn = try DiskTurn.take()
    if let file = try OwnedFile.collect(
      path, isMade: false, waiting: deadline, forOwner: deadline),
      ClaimMark(file.leftBehind).isOf(disk)
    {
      file.remove()
    }
    turn.end()
  }

  /// Ends the claims without a living owner that no disk needs.
  ///
  /// - Parameter disks: looks which are attached, to whatever domain.
  /// - Returns: the devices, as "7:0".
  static func endOrphans(
    _ disks: () throws(ToolError) -> [AttachedDisk]
  ) throws(ToolError) -> [String] {
    let left = RuntimeDirectory.entries(prefix).filter { !OwnedFile.isOwned(path($0)) }
    if left.isEmpty { return [] }
    var ended: [String] = []
    let turn = try DiskTurn.take()
    for entry in left {
      guard let device = majorMinor(entry),
        let file = try OwnedFile.collect(
          path(device), isMade: false, waiting: .now, forOwner: .now)
      else { continue }
      let mark = ClaimMark(file.leftBehind)
      if let loop = mark.loop(device), !loop.isOver(by: .now) { continue }
      // Only now, with the lock.
      if mark.isNeeded(on: device, by: try disks()) { continue }
      file.remove()
      ended.append(entry)
    }
    turn.end()
    return ended
  }

  /// Of all the others. A claim on a loop device that the kernel has taken away is what a command
  /// left that was killed.
  private static func takenBytes(
    except device: FileStatus, _ turn: borrowing DiskTurn
  ) throws(ToolError) -> UInt64 {
    var sum: UInt64 = 0
    for entry in RuntimeDirectory.entries(prefix) {
      guard let found = majorMinor(entry), found != device.majorMinor else { continue }
      let path = path(found)
      if isGoneLoopDevice(found),
        let file = try OwnedFile.collect(path, isMade: false, waiting: .now, forOwner: .now)
      {
        file.remove()
        continue
      }
      let bytes = ClaimMark(OwnedFile.look(at: path) ?? []).bytes
      sum = sum.addingReportingOverflow(bytes).overflow ? .max : sum + bytes
    }
    return sum
  }

  private static func isGoneLoopDevice(_ device: (major: UInt32, minor: UInt32)) -> Bool {
    guard device.major == LoopIdentity.major else { return false }
    let path = SystemPath(word: "/dev/loop", number: UInt64(device.minor))
    return (try? LoopDevice.isGone(path, by: .now)) == true
  }

  // MARK: Names

  /// - Parameter entry: "7:0".
  private static func majorMinor(_ entry: String) -> (major: UInt32, minor: UInt32)? {
    let words = entry.split(separator: ":", omittingEmptySubsequences: false).map { UInt32($0) }
    guard words.count == 2, let major = words[0], let minor = words[1] else { return nil }
    return (major, minor)
  }

  private static func path(_ entry: String) -> SystemPath {
    var name = PlainText()
    name.append("disk-")
    name.append(escaping: entry.utf8)
    return RuntimeDirectory.entry(name)
  }

  private static func path(_ device: (major: UInt32, minor: UInt32)) -> SystemPath {
    path("\(device.major):\(device.minor)")
  }
}

extension ClaimMark {
  /// The use of a loop device that it is about, if it is about one of our own.
  fileprivate func loop(_ device: (major: UInt32, minor: UInt32)) -> LoopIdentity? {
    guard device.major == LoopIdentity.major, let sequence else { return nil }
    return LoopIdentity(minor: device.minor, sequence: sequence)
  }
}
