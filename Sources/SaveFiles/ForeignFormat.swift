import SaveDisk

/// What is no save file, but is kept beside some or taken for one (formats/containers.md, section 9).
public enum ForeignFormat: UInt8, Sendable, BitwiseCopyable, CaseIterable {
  case gzip = 1
  case zstd, xz, bzip2, lz4, lzop, zip, tar
  case lzma, compress, skippable
  case qcow2, qed, vhd, vhdx, vmdk, elfCore, elf, memoryDump
  case xend, libvirtQEMU, libvirtQEMUUnfinished, libxc
  case qemuState, saveDisk

  /// As many bytes as are looked at.
  public static let lookBytes = 512

  /// - Parameter bytes: the first `lookBytes` of a file, or all if it has fewer.
  public init?(_ bytes: RawSpan) {
    for format in ForeignFormat.allCases where format.isBegun(by: bytes) {
      self = format
      return
    }
    return nil
  }

  private func isBegun(by bytes: RawSpan) -> Bool {
    switch self {
    case .gzip: bytes.begins(with: 0x1F8B, count: 2)
    case .zstd: bytes.begins(with: 0x28B5_2FFD, count: 4)
    case .xz: bytes.begins(with: 0xFD37_7A58_5A00, count: 6)
    case .bzip2: bytes.begins(with: "BZh")
    case .lz4:
      bytes.begins(with: 0x0422_4D18, count: 4) || bytes.begins(with: 0x0221_4C18, count: 4)
    case .lzop: bytes.begins(with: 0x894C_5A4F_000D_0A1A, count: 8)
    case .lzma: bytes.begins(with: 0x5D_0000, count: 3)
    case .compress: bytes.begins(with: 0x1F9D, count: 2)
    case .skippable: ForeignFormat.isSkippable(bytes)
    case .zip:
      bytes.begins(with: 0x504B_0304, count: 4) || bytes.begins(with: 0x504B_0506, count: 4)
    case .tar:
      bytes.byteCount > 257 && bytes.extracting(257..<bytes.byteCount).begins(with: "ustar")
    case .qcow2: bytes.begins(with: 0x5146_49FB, count: 4)
    case .qed: bytes.begins(with: 0x5145_4400, count: 4)
    case .vhd: bytes.begins(with: "conectix")
    case .vhdx: bytes.begins(with: "vhdxfile")
    case .vmdk: bytes.begins(with: "KDMV") || bytes.begins(with: "# Disk DescriptorFile")
    case .elfCore: ForeignFormat.isCore(bytes)
    case .elf: ForeignFormat.isELF(bytes)
    case .memoryDump:
      // QEMU's and makedumpfile's, and libxc's before it wrote ELF (XC_CORE_MAGIC).
      bytes.begins(with: "KDUMP   ") || bytes.begins(with: "makedumpfile\0")
        || bytes.begins(with: 0xEDEB_0FF0, count: 4)
        || bytes.begins(with: 0xEEEB_0FF0, count: 4)
        || bytes.begins(with: 0xF00F_EBED, count: 4)
        || bytes.begins(with: 0xF00F_EBEE, count: 4)
    case .xend: bytes.begins(with: "LinuxGuestRecord")
    case .libvirtQEMU: bytes.begins(with: "LibvirtQemudSave")
    case .libvirtQEMUUnfinished: bytes.begins(with: "LibvirtQemudPart")
    case .libxc:
      bytes.begins(with: 0xFFFF_FFFF_FFFF_FFFF, count: 8)
        && bytes.extracting(8..<bytes.byteCount).begins(with: "XENF")
    case .qemuState: bytes.begins(with: "QEVM")
    case .saveDisk: ForeignFormat.isDisk(bytes)
    }
  }

  private static func isDisk(_ bytes: RawSpan) -> Bool {
    guard bytes.byteCount >= 16 else { return false }
    var cursor = ByteCursor(bytes)
    return cursor.bytes16() == Layout.magic
  }

  /// A frame that zstd and lz4 pass over (RFC 8878, 3.1.2), as `pzstd` writes one first.
  private static func isSkippable(_ bytes: RawSpan) -> Bool {
    guard bytes.begins(with: 0x50, mask: 0xF0) else { return false }
    return bytes.extracting(1..<bytes.byteCount).begins(with: 0x2A_4D18, count: 3)
  }

  private static func isELF(_ bytes: RawSpan) -> Bool {
    bytes.begins(with: 0x7F45_4C46, count: 4)
  }

  /// `e_type` ET_CORE, in the byte order of `EI_DATA` (elf.h).
  private static func isCore(_ bytes: RawSpan) -> Bool {
    guard isELF(bytes) && bytes.byteCount >= 18 else { return false }
    let isBigEndian = bytes.byte(at: 5) == 2
    let (low, high) = isBigEndian ? (17, 16) : (16, 17)
    return bytes.byte(at: low) == 4 && bytes.byte(at: high) == 0
  }

  /// It is not a save file, but something that `verify` and `inspect` judge.
  public var isJudgedElsewhere: Bool { self == .qemuState || self == .saveDisk }

  /// What it is, and what to do.
  public var advice: StaticString {
    switch self {
    case .gzip: "compressed by gzip; decompress it first: zcat FILE | stubsave verify -"
    case .zstd: "compressed by zstd; decompress it first: zstdcat FILE | stubsave verify -"
    case .xz: "compressed by xz; decompress it first: xzcat FILE | stubsave verify -"
    case .bzip2: "compressed by bzip2; decompress it first: bzcat FILE | stubsave verify -"
    case .lz4: "compressed by lz4; decompress it first: lz4cat FILE | stubsave verify -"
    case .lzop: "compressed by lzop; decompress it first: lzop -dc FILE | stubsave verify -"
    case .lzma: "compressed by lzma; decompress it first: xzcat FILE | stubsave verify -"
    case .compress: "compressed by compress; decompress it first: zcat FILE | stubsave verify -"
    case .skippable: "compressed by zstd or lz4; decompress it first with zstdcat or lz4cat"
    case .zip: "a zip archive; unpack it first"
    case .tar: "a tar archive; unpack it first"
    case .qcow2: "a qcow2 disk image; qemu-img snapshot -l lists QEMU's snapshots in it"
    case .qed: "a QED disk image; what is looked for may be on the disk in it"
    case .vhdx: "a VHDX disk image; what is looked for may be on the disk in it"
    case .vmdk: "a VMDK disk image; what is looked for may be on the disk in it"
    case .vhd: "a VHD disk image; what is looked for may be on the disk in it"
    case .elfCore: "an ELF core, a dump of a guest's memory: has no state, cannot be restored"
    case .elf: "an ELF file, and no core"
    case .memoryDump: "a dump of a guest's memory: has no state, cannot be restored"
    case .xend: "xend's, of Xen 4.4 or older; only xm restore there takes it"
    case .libvirtQEMU: "LibvirtQemudSave, of libvirt's QEMU driver (KVM); virsh restore takes it"
    case .libvirtQEMUUnfinished:
      "LibvirtQemudPart, of libvirt's QEMU driver (KVM): a save that was not finished"
    case .libxc: "a libxc stream alone: has no state; convert-legacy-stream needs --format libxl"
    case .qemuState: "a state of QEMU's by itself, in no save file; stubsave inspect shows it"
    case .saveDisk: "a save disk; stubsave read takes the state out"
    }
  }
}

extension RawSpan {
  fileprivate func begins(with byte: UInt8, mask: UInt8) -> Bool {
    byteCount > 0 && self.byte(at: 0) & mask == byte
  }

  /// Whether the first `count` bytes, as a big-endian number, are `number`. No array: the compiler mixes
  /// those of one function up (Tests/Formats/merged_constants.py).
  fileprivate func begins(with number: UInt64, count: Int) -> Bool {
    guard byteCount >= count else { return false }
    var found: UInt64 = 0
    for index in 0..<count { found = found << 8 | UInt64(byte(at: index)) }
    return found == number
  }
}
