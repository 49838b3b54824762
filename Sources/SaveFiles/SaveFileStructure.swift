/// The structures of formats/containers.md, by its names.
public enum SaveFileStructure: UInt8, Sendable, BitwiseCopyable, CaseIterable {
  case saveFile
  case xlHeader, xlOptionalData
  case libvirtHeader, libvirtXML
  case libxlHeader, libxlRecord
  case libxlEnd, libxcContext, emulatorXenstoreData, emulatorContext, checkpointEnd
  case checkpointState
  case imageHeader, domainHeader, libxcRecord
  case libxcEnd, pageData, x86PVInfo, x86PVP2MFrames, x86PVVcpuBasic, x86PVVcpuExtended
  case x86PVVcpuXsave, sharedInfo, x86TSCInfo, hvmContext, hvmParams, toolstack, x86PVVcpuMSRs
  case verify, checkpoint, checkpointDirtyPFNList, staticDataEnd, x86CPUIDPolicy, x86MSRPolicy
  case suspendImage, suspendImageHeader
  case xenops, imageLibxc, imageLibxl, libxcLegacy, qemuTrad, qemuXen, demu, varstored, swtpm0
  case swtpm, endOfImage
  case stateFile

  public var name: StaticString {
    switch self {
    case .saveFile: "save file"
    case .xlHeader: "xl header"
    case .xlOptionalData: "xl optional data"
    case .libvirtHeader: "libvirt header"
    case .libvirtXML: "libvirt XML"
    case .libxlHeader: "libxl header"
    case .libxlRecord: "libxl record"
    case .libxlEnd: "libxl END"
    case .libxcContext: "libxl LIBXC_CONTEXT"
    case .emulatorXenstoreData: "libxl EMULATOR_XENSTORE_DATA"
    case .emulatorContext: "libxl EMULATOR_CONTEXT"
    case .checkpointEnd: "libxl CHECKPOINT_END"
    case .checkpointState: "libxl CHECKPOINT_STATE"
    case .imageHeader: "libxc image header"
    case .domainHeader: "libxc domain header"
    case .libxcRecord: "libxc record"
    case .libxcEnd: "libxc END"
    case .pageData: "libxc PAGE_DATA"
    case .x86PVInfo: "libxc X86_PV_INFO"
    case .x86PVP2MFrames: "libxc X86_PV_P2M_FRAMES"
    case .x86PVVcpuBasic: "libxc X86_PV_VCPU_BASIC"
    case .x86PVVcpuExtended: "libxc X86_PV_VCPU_EXTENDED"
    case .x86PVVcpuXsave: "libxc X86_PV_VCPU_XSAVE"
    case .sharedInfo: "libxc SHARED_INFO"
    case .x86TSCInfo: "libxc X86_TSC_INFO"
    case .hvmContext: "libxc HVM_CONTEXT"
    case .hvmParams: "libxc HVM_PARAMS"
    case .toolstack: "libxc TOOLSTACK"
    case .x86PVVcpuMSRs: "libxc X86_PV_VCPU_MSRS"
    case .verify: "libxc VERIFY"
    case .checkpoint: "libxc CHECKPOINT"
    case .checkpointDirtyPFNList: "libxc CHECKPOINT_DIRTY_PFN_LIST"
    case .staticDataEnd: "libxc STATIC_DATA_END"
    case .x86CPUIDPolicy: "libxc X86_CPUID_POLICY"
    case .x86MSRPolicy: "libxc X86_MSR_POLICY"
    case .suspendImage: "suspend image"
    case .suspendImageHeader: "suspend image header"
    case .xenops: "xenopsd Xenops"
    case .imageLibxc: "xenopsd Libxc"
    case .imageLibxl: "xenopsd Libxl"
    case .libxcLegacy: "xenopsd Libxc_legacy"
    case .qemuTrad: "xenopsd Qemu_trad"
    case .qemuXen: "xenopsd Qemu_xen"
    case .demu: "xenopsd Demu"
    case .varstored: "xenopsd Varstored"
    case .swtpm0: "xenopsd Swtpm0"
    case .swtpm: "xenopsd Swtpm"
    case .endOfImage: "xenopsd End_of_image"
    case .stateFile: "state file"
    }
  }

  /// What the two values of an entry are.
  public var valueNames: (first: StaticString?, second: StaticString?) {
    switch self {
    case .xlHeader: ("mandatory_flags", "optional_flags")
    case .libvirtHeader: ("version", "xmlLen")
    case .libxlHeader, .imageHeader: ("version", "options")
    // And `xen_major` and `xen_minor` in the halves of the second.
    case .domainHeader: ("type", nil)
    case .emulatorXenstoreData, .emulatorContext: ("emulator_id", "index")
    case .checkpointState: ("control_id", nil)
    case .pageData: ("count", "pages")
    case .hvmParams: ("count", nil)
    case .x86PVVcpuBasic, .x86PVVcpuExtended, .x86PVVcpuXsave, .x86PVVcpuMSRs: ("vcpu_id", nil)
    default: (nil, nil)
    }
  }
}

/// The fields of those structures.
public enum SaveFileField: UInt8, Sendable, BitwiseCopyable, CaseIterable {
  case end, trailing, magic, reserved, padding, type, version, options
  case byteorder, mandatoryFlags, optionalDataLen, configSize
  case xmlLen, unused, xml
  case ident, bodyLength, emulatorID, xenstoreData, controlID, emulatorCtx
  case marker, id, pageShift, count, guestWidth, ptLevels, p2mStartPFN, pfn
  case signature, length, record

  public var name: StaticString {
    switch self {
    case .end: "end"
    case .trailing: "trailing"
    case .magic: "magic"
    case .reserved: "reserved"
    case .padding: "padding"
    case .type: "type"
    case .version: "version"
    case .options: "options"
    case .byteorder: "byteorder"
    case .mandatoryFlags: "mandatory_flags"
    case .optionalDataLen: "optional_data_len"
    case .configSize: "config_size"
    case .xmlLen: "xmlLen"
    case .unused: "unused"
    case .xml: "xml"
    case .ident: "ident"
    case .bodyLength: "body_length"
    case .emulatorID: "emulator_id"
    case .xenstoreData: "xenstore_data"
    case .controlID: "control_id"
    case .emulatorCtx: "emulator_ctx"
    case .marker: "marker"
    case .id: "id"
    case .pageShift: "page_shift"
    case .count: "count"
    case .guestWidth: "guest_width"
    case .ptLevels: "pt_levels"
    case .p2mStartPFN: "p2m_start_pfn"
    case .pfn: "pfn"
    case .signature: "signature"
    case .length: "length"
    case .record: "record"
    }
  }
}
