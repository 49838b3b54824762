import CBlkid
import SaveDisk
import SystemIO

/// Looks for what a block device holds that somebody would miss: file systems, swap, RAID and LVM
/// members, encrypted volumes, partition tables. libblkid's judgement.
///
/// Only for a device that no stubdomain has had: afterwards its bytes are an attacker's, and
/// libblkid's parsers are not to see them.
public enum BlockProbe {
  public enum Finding: Sendable {
    case nothing
    /// What it is, such as "ext4" or "gpt partition table", and its label if it has one.
    case holds(PlainText)
    /// Signs of several; libblkid does not decide.
    case ambiguous
    /// libblkid could not read the device.
    case failed
  }

  public static func look(at device: borrowing FileDescriptor) -> Finding {
    guard let probe = unsafe blkid_new_probe() else { return .failed }
    defer { unsafe blkid_free_probe(probe) }
    guard unsafe blkid_probe_set_device(probe, device.number, 0, 0) == 0,
      unsafe blkid_probe_enable_superblocks(probe, 1) == 0,
      unsafe blkid_probe_set_superblocks_flags(
        probe, BLKID_SUBLKS_TYPE | BLKID_SUBLKS_LABEL | BLKID_SUBLKS_USAGE) == 0,
      unsafe blkid_probe_enable_partitions(probe, 1) == 0
    else { return .failed }
    // blkid_do_safeprobe(3): 0 something, 1 nothing, -2 ambivalent, -1 error.
    switch unsafe blkid_do_safeprobe(probe) {
    case 1: return .nothing
    case -2: return .ambiguous
    case 0: return .holds(unsafe describe(probe))
    default: return .failed
    }
  }

  private static func describe(_ probe: blkid_probe) -> PlainText {
    var text = PlainText()
    if let type = unsafe value("TYPE", of: probe) {
      text.append(escaping: type, maxBytes: 64)
    }
    if let table = unsafe value("PTTYPE", of: probe) {
      if !text.bytes.isEmpty { text.append(" and ") }
      text.append(escaping: table, maxBytes: 64)
      text.append(" partition table")
    }
    if text.bytes.isEmpty { text.append("something that libblkid knows") }
    if let label = unsafe value("LABEL", of: probe) {
      text.append(" labelled '")
      text.append(escaping: label, maxBytes: 64)
      text.append("'")
    }
    return text
  }

  private static func value(_ name: StaticString, of probe: blkid_probe) -> [UInt8]? {
    var data: UnsafePointer<CChar>?
    let isThere = name.withUTF8Buffer { buffer in
      unsafe blkid_probe_lookup_value(
        probe, UnsafeRawPointer(buffer.baseAddress!).assumingMemoryBound(to: CChar.self), &data,
        nil) == 0
    }
    guard isThere, var cursor = unsafe data else { return nil }
    var bytes: [UInt8] = []
    while unsafe cursor.pointee != 0 {
      unsafe bytes.append(UInt8(bitPattern: cursor.pointee))
      unsafe cursor += 1
    }
    return bytes
  }
}
