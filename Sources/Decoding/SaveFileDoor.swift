import QEMUState
import SaveDisk
import SaveFiles
import SystemIO
import Transfer

/// The door for what may be a toolstack's file: what it is shows in its first bytes.
public enum SaveFileDoor {
  /// - Parameters:
  ///   - input: each byte of it is fetched at most once.
  ///   - output: empty.
  public static func open(
    _ input: borrowing FileDescriptor, shape: InputShape? = nil, task: SaveFileTask,
    options: ReadOptions, output: borrowing DoorOutput, resources: DoorResources = DoorResources()
  ) -> Judged {
    do throws(SystemError) {
      var input = try DiskInput(input, shape)
      let count = try input.fetch(ForeignFormat.lookBytes)
      if let format = SaveFileFormat(input.bytes(count)), format != .state || !task.extracts {
        return .saveFile(walk(input, format, task, options, output, resources))
      }
      let foreign = ForeignFormat(input.bytes(count))
      var isToBeNamed = foreign?.isJudgedElsewhere == false
      if case .extract = task { isToBeNamed = true }
      if isToBeNamed {
        let error = SaveFileError(
          .notASaveDisk, .saveFile, .magic, at: 0, found: UInt64(foreign?.rawValue ?? 0))
        return .saveFile(SaveFileVerdict(failure: .file(error)))
      }
      switch task {
      case .verify, .extract:
        return .disk(
          Door.open(
            input, task: .verify, options: options, output: output, resources: resources))
      case .list:
        return .disk(
          Door.open(input, task: .list, options: options, output: output, resources: resources))
      }
    } catch {
      return .saveFile(SaveFileVerdict(failure: .input(error)))
    }
  }

  private static func walk(
    _ input: consuming DiskInput, _ format: SaveFileFormat, _ task: SaveFileTask,
    _ options: ReadOptions, _ output: borrowing DoorOutput, _ resources: DoorResources
  ) -> SaveFileVerdict {
    var isListing = false
    if case .list = task { isListing = true }
    var walk = SaveFileWalk(
      input, format: format, output: output,
      maxStateBytes: options.limits.maxStateBytes + StateFile.maxTrailerBytes,
      maxKeptZeroBytes: StateFile.keptZeroBytes, isListing: isListing,
      advanced: resources.advanced)
    var failure: SaveFileFailure?
    do throws(SaveFileFailure) { try walk.run() } catch { failure = error }
    let placed = walk.outputPosition
    guard let state = walk.facts.state else {
      // What has been copied of one is nobody's; entries have a place of their own behind it.
      let start = unsafe StateHead(parsing: walk.stateStart.span.bytes)
      let head = start.kind == .migrationStream ? start : nil
      return finish(walk, failure, nil, head, [], output, placed)
    }
    let file = output.file(isInOverflow: placed.isInOverflow)
    let trailer = StateFile.check(file, bytes: state.bytes, options: options)
    if failure == nil, let error = state.overLimit(trailer, options.limits) {
      failure = .file(error)
    }
    var head = StateHead.unseen
    do throws(SystemError) {
      head = try StateHead(of: file, stateBytes: trailer.stateBytes(ofFile: state.bytes))
    } catch {
      failure = failure ?? .output(error)
    }
    var sections: [UInt8] = []
    if isListing {
      do throws(SystemError) {
        sections = try Decoding.sections(file, trailer, state.bytes)
      } catch {
        failure = failure ?? .output(error)
      }
    }
    return finish(walk, failure, trailer, head, sections, output, placed)
  }

  /// Entries and sections behind the state.
  private static func finish(
    _ walk: borrowing SaveFileWalk, _ failure: SaveFileFailure?, _ trailer: TrailerFinding?,
    _ head: StateHead?, _ sections: [UInt8], _ output: borrowing DoorOutput,
    _ placed: OutputPosition
  ) -> SaveFileVerdict {
    var failure = failure
    var entriesBytes: UInt64 = 0
    var sectionsBytes: UInt64 = 0
    var writer = DoorWriter(output, behind: placed)
    do throws(SystemError) {
      try unsafe writer.write(walk.entries.span.bytes)
      entriesBytes = UInt64(walk.entries.count)
      try unsafe writer.write(sections.span.bytes)
      sectionsBytes = UInt64(sections.count)
    } catch {
      failure = .output(error)
    }
    return SaveFileVerdict(
      failure: failure, facts: walk.facts, trailer: trailer, head: head, stateBytes: placed.bytes,
      entriesBytes: entriesBytes, sectionsBytes: sectionsBytes,
      isInOverflow: writer.position.isInOverflow)
  }
}

extension SaveFileTask {
  /// There is nothing to be taken out of a state by itself.
  fileprivate var extracts: Bool {
    if case .extract = self { true } else { false }
  }
}

extension SavedState {
  /// Q4: without its trailer it is larger than a state may be.
  fileprivate func overLimit(
    _ trailer: TrailerFinding, _ limits: ReaderLimits
  ) -> SaveFileError? {
    var count = bytes
    switch trailer {
    case .good(let facts): count = facts.stateBytes
    case .none: break
    case .failed, .unreadable: return nil
    }
    if count <= limits.maxStateBytes { return nil }
    return SavedState(
      offset: offset, bytes: count, structure: structure, recordOffset: recordOffset
    ).overLimit
  }
}
