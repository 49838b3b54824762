import SaveDisk
import SystemIO
import Toolstack
import Transfer

/// Where a state is to go, as `-o` says.
enum StateTarget {
  /// - Parameters:
  ///   - output: nil is standard output, unless that is a terminal.
  ///   - json: a report goes to standard output, where the state must not be then.
  static func path(_ output: SystemPath?, json: Bool) throws(ToolError) -> SystemPath {
    let target = output ?? SystemPath(word: "-")
    if output == nil && FileDescriptor.standardOutput.isTerminal {
      throw ToolError(.usage, nil) {
        $0.append("standard output is a terminal; -o FILE, or -o - to insist")
      }
    }
    let place = StreamPlace(output: target)
    if json {
      let isShared = StreamPlace(descriptor: 1).map { place?.isShared(with: $0) == true }
      if target.descriptor(hyphen: 1) == 1 || isShared == true {
        throw ToolError(.usage, nil) {
          $0.append("--json needs -o FILE: its report goes to standard output")
        }
      }
    }
    // Warnings would become bytes of the state.
    if let place, let errors = StreamPlace(descriptor: 2), !errors.isTerminal,
      place.isShared(with: errors)
    {
      Console.keepWarningsBack()
    }
    return target
  }
}

/// What is open under a number or exists under a path, to be told from others.
struct StreamPlace {
  private let status: FileStatus
  let isTerminal: Bool

  /// Nil if nothing is open there.
  init?(descriptor number: Int32) {
    let file = FileDescriptor(borrowing: number)
    guard let status = try? file.status() else { return nil }
    self.init(status, isTerminal: file.isTerminal)
  }

  /// Nil if nothing is there, or will be new.
  init?(output path: SystemPath) { self.init(path, hyphen: 1) }

  init?(input path: SystemPath) { self.init(path, hyphen: 0) }

  private init?(_ path: SystemPath, hyphen standard: Int32) {
    if let number = path.descriptor(hyphen: standard) {
      self.init(descriptor: number)
      return
    }
    guard let status = try? FileStatus.of(path) else { return nil }
    self.init(status, isTerminal: false)
  }

  private init(_ status: FileStatus, isTerminal: Bool) {
    self.status = status
    self.isTerminal = isTerminal
  }

  /// Whether what is written to both becomes one: not of /dev/null and its like, which keep nothing.
  func isShared(with other: StreamPlace) -> Bool {
    if status.kind == .characterDevice && !isTerminal && !other.isTerminal { return false }
    return status.isSameFile(as: other.status)
  }
}
