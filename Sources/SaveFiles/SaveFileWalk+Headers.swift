import SaveDisk
import Transfer

extension SaveFileWalk {
  private static let byteorder: UInt32 = 0x0102_0304
  /// XL_MANDATORY_FLAG_JSON and XL_MANDATORY_FLAG_STREAMv2.
  private static let knownFlags: UInt32 = 3
  private static let streamVersion2: UInt32 = 2

  /// `save_file_header` and what it calls optional data (tools/xl/xl.h).
  mutating func readXLHeader() throws(SaveFileFailure) {
    try need(XLHeader.byteCount, of: .xlHeader)
    let header = XLHeader(parsing: input.bytes(XLHeader.byteCount))
    let flags = header.mandatoryFlags
    guard header.byteorder == SaveFileWalk.byteorder else {
      let isSwapped = header.byteorder.byteSwapped == SaveFileWalk.byteorder
      throw fail(
        isSwapped ? .unsupported : .corrupt, .xlHeader, .byteorder, at: 32,
        found: UInt64(header.byteorder))
    }
    guard flags & ~SaveFileWalk.knownFlags == 0, flags & SaveFileWalk.streamVersion2 != 0 else {
      throw fail(.unsupported, .xlHeader, .mandatoryFlags, at: 36, found: UInt64(flags))
    }
    let dataBytes = header.optionalDataBytes
    guard dataBytes == 0 || dataBytes >= 4 else {
      throw fail(.corrupt, .xlHeader, .optionalDataLen, at: 44, found: UInt64(dataBytes))
    }
    consume(XLHeader.byteCount)
    accept(
      SaveFileEntry(
        .xlHeader, at: 0, bytes: UInt64(XLHeader.byteCount), first: UInt64(flags),
        second: UInt64(header.optionalFlags)))
    if dataBytes != 0 { try readOptionalData(dataBytes) }
  }

  private mutating func readOptionalData(_ count: UInt32) throws(SaveFileFailure) {
    let start = position
    try need(4, of: .xlOptionalData)
    let configBytes = input.bytes(4).number
    guard configBytes <= count - 4 else {
      throw fail(.corrupt, .xlOptionalData, .configSize, at: start, found: UInt64(configBytes))
    }
    consume(4)
    let searched = min(configBytes, SaveFileWalk.maxSearchedBytes)
    isPVH = try search(for: "\"type.pvh\"", in: searched, of: .xlOptionalData)
    try skip(UInt64(count - 4 - searched), of: .xlOptionalData)
    accept(SaveFileEntry(.xlOptionalData, at: start, bytes: UInt64(count)))
  }

  private static let libvirtVersion: UInt32 = 2

  /// `libxlSavefileHeader` and the domain's XML (src/libxl/libxl_conf.h).
  mutating func readLibvirtHeader() throws(SaveFileFailure) {
    try need(LibvirtHeader.byteCount, of: .libvirtHeader)
    let header = LibvirtHeader(parsing: input.bytes(LibvirtHeader.byteCount))
    let xmlBytes = header.xmlBytes
    guard header.version == SaveFileWalk.libvirtVersion else {
      throw fail(.unsupported, .libvirtHeader, .version, at: 16, found: UInt64(header.version))
    }
    guard xmlBytes > 0 else { throw fail(.corrupt, .libvirtHeader, .xmlLen, at: 20) }
    try requireZeros(LibvirtHeader.unused, .libvirtHeader, .unused)
    consume(LibvirtHeader.byteCount)
    accept(
      SaveFileEntry(
        .libvirtHeader, at: 0, bytes: UInt64(LibvirtHeader.byteCount),
        first: UInt64(header.version), second: UInt64(xmlBytes)))
    let start = position
    let searched = min(xmlBytes - 1, SaveFileWalk.maxSearchedBytes)
    isPVH = try search(for: ">xenpvh<", in: searched, of: .libvirtXML)
    try skip(UInt64(xmlBytes - 1 - searched), of: .libvirtXML)
    try need(1, of: .libvirtXML)
    try requireZeros(0..<1, .libvirtXML, .xml)
    consume(1)
    accept(SaveFileEntry(.libvirtXML, at: start, bytes: UInt64(xmlBytes)))
  }

  /// No guest's configuration is longer.
  private static let maxSearchedBytes: UInt32 = 1 << 20

  /// Passes over the next `count` bytes.
  ///
  /// - Returns: whether `word` is in them. None of its ends is another beginning of it.
  private mutating func search(
    for word: StaticString, in count: UInt32, of structure: SaveFileStructure
  ) throws(SaveFileFailure) -> Bool {
    var left = Int(count)
    var matched = 0
    while left > 0 {
      let wanted = min(left, SaveFileWalk.pieceBytes)
      let piece = try fetch(wanted)
      for index in 0..<piece where matched < word.utf8CodeUnitCount {
        let byte = input.bytes(piece).byte(at: index)
        if unsafe byte == word.utf8Start[matched] {
          matched += 1
        } else {
          matched = unsafe byte == word.utf8Start[0] ? 1 : 0
        }
      }
      if piece < wanted { throw end(of: structure, behind: piece) }
      consume(piece)
      left -= piece
    }
    return matched == word.utf8CodeUnitCount
  }
}
