import SaveDisk
import SystemIO
import Transfer
import Xen

/// What the file of a claim says: whose it is. A number says that of no device for long: the kernel
/// gives a loop device's to the next who asks.
struct ClaimMark: Equatable {
  /// Of this claim and of no other; also in the nodes of the disk that it is about. Nil in a file that
  /// its owner has not written yet.
  var id: UInt64?
  /// Of the disk.
  var bytes: UInt64 = 0
  /// Which use of a loop device of our own this is, once there is one.
  var sequence: UInt64?

  init(id: UInt64, bytes: UInt64) {
    self.id = id
    self.bytes = bytes
  }

  /// Bytes, id, and sequence number, in decimal digits.
  init(_ text: [UInt8]) {
    let words = text.split(separator: UInt8(ascii: " "), omittingEmptySubsequences: false)
      .map { UInt64(String(decoding: $0, as: UTF8.self)) }
    bytes = words.first.flatMap { $0 } ?? 0
    id = words.count > 1 ? words[1] : nil
    sequence = words.count > 2 ? words[2] : nil
  }

  var text: PlainText {
    var text = PlainText()
    text.append(bytes)
    for number in [id, sequence] {
      guard let number else { break }
      text.append(" ")
      text.append(number)
    }
    return text
  }

  /// Whether this claim is the one of a disk that is, or was, attached.
  func isOf(_ disk: AttachedDisk) -> Bool { id != nil && disk.claim == id }

  /// Whether a claim that nobody has locked is needed all the same: `attach` ends before its disk
  /// does.
  ///
  /// - Parameters:
  ///   - device: the claim's.
  ///   - disks: as they are while nobody can take the claim: its owner makes the nodes before he gives
  ///     up the lock.
  func isNeeded(
    on device: (major: UInt32, minor: UInt32), by disks: [AttachedDisk]
  ) -> Bool {
    disks.contains { disk in
      if isOf(disk) { return true }
      // Nodes that name no claim: whoever has made them, nobody looks into that device.
      guard disk.claim == nil, let found = disk.majorMinor else { return false }
      return found == device
    }
  }
}
