/// Types of a libxl stream's records (docs/specs/libxl-migration-stream.pandoc).
enum LibxlRecordType: UInt32 {
  case end = 0
  case libxcContext = 1
  case emulatorXenstoreData = 2
  case emulatorContext = 3
  case checkpointEnd = 4
  case checkpointState = 5

  var structure: SaveFileStructure {
    switch self {
    case .end: .libxlEnd
    case .libxcContext: .libxcContext
    case .emulatorXenstoreData: .emulatorXenstoreData
    case .emulatorContext: .emulatorContext
    case .checkpointEnd: .checkpointEnd
    case .checkpointState: .checkpointState
    }
  }
}

/// Types of a libxc stream's records (tools/libs/guest/xg_sr_stream_format.h).
enum LibxcRecordType: UInt32 {
  case end = 0
  case pageData = 1
  case x86PVInfo = 2
  case x86PVP2MFrames = 3
  case x86PVVcpuBasic = 4
  case x86PVVcpuExtended = 5
  case x86PVVcpuXsave = 6
  case sharedInfo = 7
  case x86TSCInfo = 8
  case hvmContext = 9
  case hvmParams = 10
  case toolstack = 11
  case x86PVVcpuMSRs = 12
  case verify = 13
  case checkpoint = 14
  case checkpointDirtyPFNList = 15
  case staticDataEnd = 16
  case x86CPUIDPolicy = 17
  case x86MSRPolicy = 18

  /// The last that version 2 of the stream knows.
  static let lastOfVersion2 = LibxcRecordType.checkpointDirtyPFNList

  var structure: SaveFileStructure {
    switch self {
    case .end: .libxcEnd
    case .pageData: .pageData
    case .x86PVInfo: .x86PVInfo
    case .x86PVP2MFrames: .x86PVP2MFrames
    case .x86PVVcpuBasic: .x86PVVcpuBasic
    case .x86PVVcpuExtended: .x86PVVcpuExtended
    case .x86PVVcpuXsave: .x86PVVcpuXsave
    case .sharedInfo: .sharedInfo
    case .x86TSCInfo: .x86TSCInfo
    case .hvmContext: .hvmContext
    case .hvmParams: .hvmParams
    case .toolstack: .toolstack
    case .x86PVVcpuMSRs: .x86PVVcpuMSRs
    case .verify: .verify
    case .checkpoint: .checkpoint
    case .checkpointDirtyPFNList: .checkpointDirtyPFNList
    case .staticDataEnd: .staticDataEnd
    case .x86CPUIDPolicy: .x86CPUIDPolicy
    case .x86MSRPolicy: .x86MSRPolicy
    }
  }

  /// Whether a guest of this kind has such records.
  func fits(_ guest: GuestType) -> Bool {
    switch self {
    case .x86PVInfo, .x86PVP2MFrames, .x86PVVcpuBasic, .x86PVVcpuExtended, .x86PVVcpuXsave,
      .x86PVVcpuMSRs, .sharedInfo:
      guest == .x86PV
    case .hvmContext, .hvmParams: guest == .x86HVM
    default: true
    }
  }

  /// Whether a record of this type may have such a length.
  func allows(bodyBytes: UInt32) -> Bool {
    switch self {
    case .end, .verify, .checkpoint, .staticDataEnd: bodyBytes == 0
    case .pageData: bodyBytes >= 16
    case .x86PVInfo: bodyBytes == 8
    case .x86PVP2MFrames: bodyBytes >= 8 && bodyBytes % 8 == 0
    case .x86PVVcpuBasic, .x86PVVcpuExtended, .x86PVVcpuXsave, .x86PVVcpuMSRs: bodyBytes >= 8
    case .sharedInfo: bodyBytes == 4096
    case .x86TSCInfo: bodyBytes == 24
    case .hvmContext: bodyBytes >= 1
    case .hvmParams: bodyBytes >= 8
    case .toolstack, .checkpointDirtyPFNList: true
    case .x86CPUIDPolicy: bodyBytes > 0 && bodyBytes % 24 == 0
    case .x86MSRPolicy: bodyBytes > 0 && bodyBytes % 16 == 0
    }
  }
}

/// Of a libxc stream's domain header. A PVH guest is saved as an HVM guest; 3 and 4, in the headers of
/// Xen 4.6 to 4.13, were never saved nor restored (Xen 279521aed9).
enum GuestType: UInt32 {
  case x86PV = 1
  case x86HVM = 2
}

/// Types of a suspend image's headers (ocaml/xenopsd/lib/suspend_image.ml).
enum ImageRecordType: UInt64 {
  case xenops = 0x000F
  case libxc = 0x00F0
  case libxl = 0x00F1
  case libxcLegacy = 0x00F2
  case qemuTrad = 0x0F00
  case qemuXen = 0x0F01
  case demu = 0x0F10
  case varstored = 0x0F11
  case swtpm0 = 0x0F12
  case swtpm = 0x0F13
  case endOfImage = 0xFFFF

  var structure: SaveFileStructure {
    switch self {
    case .xenops: .xenops
    case .libxc: .imageLibxc
    case .libxl: .imageLibxl
    case .libxcLegacy: .libxcLegacy
    case .qemuTrad: .qemuTrad
    case .qemuXen: .qemuXen
    case .demu: .demu
    case .varstored: .varstored
    case .swtpm0: .swtpm0
    case .swtpm: .swtpm
    case .endOfImage: .endOfImage
    }
  }
}
