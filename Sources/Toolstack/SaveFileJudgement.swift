import Decoding
import QEMUState
import SaveDisk
import SaveFiles
import SystemIO
import Transfer

/// A toolstack's save file as the decoder has judged it, for a report.
public struct SaveFileJudgement: Sendable {
  /// Where something is wrong.
  public struct Place: Sendable {
    public let verdict: VerdictClass
    public let structure: StaticString
    public let field: StaticString
    /// From the start of the file.
    public let offset: UInt64
  }

  /// What is known of QEMU's state.
  public struct State: Sendable {
    /// With its trailer.
    public let saved: SavedState
    /// Without its trailer, as far as that is known.
    public let bytes: UInt64
    /// Of the state; nil without a good trailer.
    public let digest: Bytes16?
    public let metadata: [UInt8]
    /// "good", "none", or the verdict on a trailer that does not fit.
    public let trailer: StaticString
    public let hasTrailer: Bool
    /// The state with its good trailer; nil without one.
    let wholeBytes: UInt64?
    /// Zeros behind a good trailer.
    public let paddingBytes: UInt64
  }

  public let path: SystemPath
  public private(set) var status: ExitStatus
  /// Why it is not good, in one line without the path.
  public private(set) var reason: PlainText?
  /// Nil if the system is to blame.
  public private(set) var place: Place?
  public let facts: SaveFileFacts
  public let state: State?
  /// What the state is by its first bytes; nil if there is none.
  public let head: StateHead?
  /// As many as are listed, where that was asked for.
  public private(set) var entries: [SaveFileEntry] = []
  /// By the look of the bytes: for people only.
  public private(set) var sections: [StateSection] = []
  /// Nothing but what the state is by its first bytes is wrong.
  private var isByHead = false
  /// The state could not be written down.
  private var isForWantOfRoom = false

  public var complaint: PlainText {
    var text = PlainText()
    text.append(escaping: path.bytes)
    text.append(": ")
    if let reason { text.append(reason) }
    return text
  }

  init(path: SystemPath, _ verdict: SaveFileVerdict) {
    self.path = path
    facts = verdict.facts
    head = verdict.head
    state = verdict.facts.state.map { State($0, verdict.trailer, in: verdict.facts) }
    var text = PlainText()
    // What no QEMU takes for a device state, whatever its trailer says.
    if let (error, offset) = verdict.headError(path) {
      let verdict = VerdictClass(rawValue: error.status.rawValue) ?? .corrupt
      text.append(verdict.word)
      text.append(": ")
      text.append(error.reason)
      status = error.status
      place = Place(
        verdict: verdict, structure: SaveFileStructure.stateFile.name,
        field: SaveFileField.record.name, offset: offset)
      reason = text
      isByHead = true
      return
    }
    switch verdict.problem {
    case nil:
      status = .good
      place = nil
      reason = nil
      return
    case .container(.file(let error))?:
      error.describe(into: &text)
      status = ExitStatus(error.verdict)
      place = Place(
        verdict: error.verdict, structure: error.structure.name, field: error.field.name,
        offset: error.offset)
    case .trailer(let error)?:
      error.describe(into: &text)
      status = ExitStatus(error.verdict)
      place = Place(
        verdict: error.verdict, structure: error.structure.name, field: error.field.name,
        offset: error.offset)
    case .container(.input(let error))?:
      text.append("cannot read it: ")
      text.append(error)
      status = ExitStatus(error)
      place = nil
    case .container(.output(let error))?:
      text.append("cannot hold its state: ")
      text.append(error)
      status = ExitStatus(error)
      place = nil
      isForWantOfRoom = true
    }
    reason = text
  }

  /// Nothing is wrong, but nothing says either whether its state is the one that was saved, or whether
  /// the guest's records are all there.
  public var isUnverified: Bool {
    status == .good && (state?.hasTrailer == false || facts.isEndUncertain)
  }

  /// What is to be said though it is good; nil if there is nothing.
  public var remark: PlainText? {
    guard status == .good else { return nil }
    if facts.isEndUncertain { return .endIsUncertain }
    return state.flatMap { PlainText.remark(paddingBytes: $0.paddingBytes) }
  }

  /// What nothing can be said of becomes incomplete (T1).
  mutating func requireTrailer() {
    guard isUnverified else { return }
    var text = PlainText()
    text.append("incomplete: ")
    if let state {
      text.append(ToolError(unverified: path, way: nil).reason)
      let error = DiskError(.incomplete, .trailer, .end, at: state.saved.offset + state.bytes)
      place = Place(
        verdict: error.verdict, structure: error.structure.name, field: error.field.name,
        offset: error.offset)
    } else {
      text.append(PlainText.endIsUncertain)
      place = Place(
        verdict: .incomplete, structure: SaveFileStructure.saveFile.name,
        field: SaveFileField.trailing.name, offset: facts.bytes)
    }
    reason = text
    status = .incomplete
  }

  /// What does not fit into memory has no other place: that is why it could not be held.
  mutating func blame(_ directory: SystemPath, _ problem: SystemError?) {
    guard isForWantOfRoom, let problem else { return }
    var text = PlainText()
    text.append("cannot hold a state of more than 16 MiB in ")
    text.append(escaping: directory.bytes)
    text.append(": ")
    text.append(problem)
    reason = text
    status = ExitStatus(problem)
  }

  /// For `inspect`, which shows a whole migration stream as it does a state.
  mutating func takeMigrationStream() {
    guard isByHead, head?.kind == .migrationStream, facts.format == .state, state != nil else {
      return
    }
    status = .good
    reason = nil
    place = nil
  }

  /// - Parameter lists: the output of the task `list`.
  init(
    path: SystemPath, _ verdict: SaveFileVerdict, lists: borrowing DoorOutput
  ) throws(ToolError) {
    self.init(path: path, verdict)
    let list = try attempt(path) { () throws(SystemError) in
      try lists.file(isInOverflow: verdict.isInOverflow).bytes(
        from: verdict.stateBytes, count: verdict.entriesBytes + verdict.sectionsBytes)
    }
    let middle = Int(verdict.entriesBytes)
    do throws(MessageError) {
      for start in stride(from: 0, to: middle, by: SaveFileEntry.byteCount) {
        let entry = unsafe list.span.bytes.extracting(start..<(start + SaveFileEntry.byteCount))
        entries.append(try SaveFileEntry(parsing: entry))
      }
      sections = try DecoderProcess.sections(
        [UInt8](list[middle...]), stateBytes: verdict.stateBytes)
    } catch {
      throw ToolError(.decoder(.nonsense), path)
    }
  }
}

extension SaveFileVerdict {
  /// Why the state is no device state, and where. Of one that is too large a whole migration stream is
  /// told; of what is wrong otherwise nothing.
  fileprivate func headError(_ path: SystemPath) -> (ToolError, offset: UInt64)? {
    guard let head, let error = head.error(path) else { return nil }
    switch problem {
    case nil: return (error, (facts.state?.offset ?? 0) + head.offset)
    case .container(.file(let failure))?
    where failure.verdict == .overLimit && head.kind == .migrationStream:
      return (error, (facts.state?.offset ?? failure.stateOffset) + head.offset)
    default: return nil
    }
  }
}

extension SaveFileJudgement.State {
  fileprivate init(_ saved: SavedState, _ finding: TrailerFinding?, in file: SaveFileFacts) {
    // Of a state by itself there may be more than what has been copied: zeros.
    let copied = saved.offset + saved.bytes
    let left = file.format == .state && file.bytes > copied ? file.bytes - copied : 0
    switch finding {
    case .good(let facts)?:
      self.init(
        saved: saved, bytes: facts.stateBytes, digest: facts.stateDigest,
        metadata: facts.metadata, trailer: "good", hasTrailer: true, wholeBytes: facts.wholeBytes,
        paddingBytes: facts.paddingBytes + left)
    case .failed(let error)?:
      self.init(
        saved: saved, bytes: saved.bytes + left, digest: nil, metadata: [],
        trailer: error.verdict.word,
        hasTrailer: true, wholeBytes: nil, paddingBytes: 0)
    case .none?, .unreadable?, nil:
      self.init(
        saved: saved, bytes: saved.bytes + left, digest: nil, metadata: [], trailer: "none",
        hasTrailer: false, wholeBytes: nil, paddingBytes: 0)
    }
  }
}
