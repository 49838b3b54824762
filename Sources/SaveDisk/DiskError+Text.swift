extension DiskError {
  /// One line: verdict, where, what; numbers only, nothing that the disk could choose freely.
  public func describe(into text: inout PlainText) {
    text.append(verdict.word)
    text.append(": offset ")
    text.append(offset)
    text.append(", ")
    text.append(structure.name)
    text.append(" ")
    text.append(field.name)
    text.append(": ")
    explain(into: &text)
  }

  private func explain(into text: inout PlainText) {
    switch (verdict, structure, field) {
    case (.notASaveDisk, .header, .end):
      text.append("shorter than a header: ")
      text.append(found)
      text.append(" bytes")
    case (.notASaveDisk, _, _): text.append("not what a save disk begins with")
    case (.incomplete, .header, .end):
      text.append("cut inside the header, after ")
      text.append(found)
      text.append(" bytes")
    case (.incomplete, .disk, .end): text.append("the log ends without a commit")
    case (.incomplete, .abort, _):
      text.append("the writer gave up, code ")
      text.append(found)
      if let code = AbortCode(rawValue: UInt32(truncatingIfNeeded: found)) {
        text.append(": ")
        text.append(code.meaning)
      }
    case (.incomplete, _, _): text.append("cut off here")
    case (.unsupported, _, .version): numbers("version ", ", this reader knows ", &text)
    case (.unsupported, .header, _), (.unsupported, .trailer, _):
      text.append("features ")
      text.append(hex: found, minDigits: 8)
      text.append(" are not known here")
    case (.unsupported, .streamBegin, _):
      text.append("a stream that must be understood is not known here")
    case (.unsupported, .record, .type):
      text.append("mandatory record of unknown type ")
      text.append(hex: found, minDigits: 8)
    case (.unsupported, _, _):
      text.append("codec ")
      appendCodec(into: &text)
      text.append(" is not accepted here")
    case (.overLimit, .record, .rawBytes):
      numbers("the state has at least ", " bytes, the limit (--max-state) is ", &text)
    case (.overLimit, _, _):
      numbers("the log has at least ", " bytes, the limit (from --max-state) is ", &text)
    default: explainCorruption(into: &text)
    }
  }

  private func explainCorruption(into text: inout PlainText) {
    switch field {
    case .hash: text.append("does not fit the bytes that it covers")
    case .stateDigest: text.append("does not fit the state's bytes")
    case .metadata: text.append("is an archive that may not stand here")
    case .magic: text.append("is not a trailer's, though all else of it fits")
    case .logDigest: text.append("does not fit the log")
    case .digest: text.append("does not fit the decoded bytes")
    case .headerHash: text.append("is not that of this header")
    case .transferID:
      text.append(structure == .header ? "is zero" : "is not that of this header")
    case .reserved, .padding: text.append("is not zero")
    case .body: text.append("does not decode to the length stated")
    case .name: text.append("is not a valid name, or not the only one")
    case .trailing where structure == .trailer:
      text.append("bytes that are not zero follow the trailer")
    case .trailing: explainTrailing(into: &text)
    case .end where structure == .trailer:
      numbers("no trailer, and nothing but zeros from here on: ", " bytes, where at most ", &text)
      text.append(" can be a device state's")
    case .codec where structure == .record && expected != 0:
      text.append("codec ")
      appendCodec(into: &text)
      text.append(" is not among those that the header allows")
    case .type:
      text.append("type ")
      text.append(found)
      text.append(" may not stand here")
    case .flags:
      text.append("flags ")
      text.append(hex: found, minDigits: 8)
      text.append(" are not known here")
    case .direction, .chunkBytes, .capacityBytes, .allowedCodecs, .maxStreams, .recipientDomid,
      .targetDomid, .nameBytes:
      text.append(found)
      text.append(" is not a possible value")
    case .storedBytes where structure == .record, .rawBytes where structure == .record:
      numbers("", " is not possible here, where the bound is ", &text)
    default: numbers("found ", ", expected ", &text)
    }
  }

  /// What to do: the reader does not know whether they matter to somebody.
  private func explainTrailing(into text: inout PlainText) {
    if found != 0 {
      text.append(found)
      text.append(found == 1 ? " byte follows" : " bytes follow")
    } else {
      text.append("bytes follow")
    }
    text.append(" the end of the archive")
    if expected == 0 { return }
    text.append("; if that is only padding, cut ")
    if found != 0 {
      text.append("a copy there: truncate -s ")
      text.append(expected)
    } else {
      text.append("it there (head -c ")
      text.append(expected)
      text.append("), or give the file or device itself")
    }
  }

  private func appendCodec(into text: inout PlainText) {
    if found <= UInt64(FormatLimits.maxCodecNumber),
      let name = Codec(number: UInt32(found)).name
    {
      text.append(name)
    } else {
      text.append(found)
    }
  }

  private func numbers(
    _ before: StaticString, _ between: StaticString, _ text: inout PlainText
  ) {
    text.append(before)
    text.append(found)
    text.append(between)
    text.append(expected)
  }
}
