import ArgumentParser
import SaveDisk
import SystemIO
import Toolstack
import Transfer

/// Options of the commands that may take long.
struct ProgressOptions: ParsableArguments {
  @Option(
    help: ArgumentHelp(
      "How to tell of the progress: auto is text if standard error is a terminal.",
      valueName: "form"))
  var progress = ProgressForm.auto

  @Option(
    name: .customLong("progress-fd"),
    help: ArgumentHelp(
      "The open file that progress goes to, instead of standard error; alone it means json.",
      valueName: "number"))
  var progressDescriptor: Int32?

  private var target: Int32 { progressDescriptor ?? 2 }

  /// Nil if nothing is to be told.
  private var form: ProgressForm? {
    switch progress {
    case .never: nil
    case .auto where progressDescriptor != nil: .json
    case .auto: FileDescriptor(borrowing: target).isTerminal ? .always : nil
    case .always, .json: progress
    }
  }

  /// What tells; nil if nothing is to be told.
  ///
  /// - Parameter source: what is gone through; of a regular file it is known how much that is.
  func make(for source: borrowing FileDescriptor) throws(ToolError) -> Progress? {
    if progressDescriptor != nil {
      do throws(SystemError) {
        _ = try FileDescriptor(borrowing: target).status()
      } catch {
        throw ToolError(.usage, nil) {
          $0.append("--progress-fd ")
          $0.append(UInt64(max(target, 0)))
          $0.append(": ")
          $0.append(error)
        }
      }
      // A reader of the progress that goes away must not end the work.
      SignalsAsErrors.ofPipes()
    }
    guard let form else { return nil }
    var totalBytes: UInt64?
    if let status = try? source.status(), status.kind == .regular { totalBytes = status.bytes }
    let teller = ProgressTeller(
      target, isJSON: form == .json, isTerminal: FileDescriptor(borrowing: target).isTerminal)
    return Progress(
      totalBytes: totalBytes, intervalNanoseconds: ProgressTeller.intervalNanoseconds
    ) { teller.tell($0) }
  }

  /// The same of a disk by its path; it is opened a second time, and only looked at.
  func make(forDisk path: SystemPath) throws(ToolError) -> Progress? {
    if form == nil { return nil }
    if !path.isStandardStream, let kind = try? FileStatus.of(path).kind, kind == .regular,
      let file = try? FileDescriptor.open(path, .read)
    {
      return try make(for: file)
    }
    return try make(for: FileDescriptor.standardInput)
  }
}

enum ProgressForm: String, ExpressibleByArgument, CaseIterable {
  case auto, always, never, json

  var defaultValueDescription: String { rawValue }
}

/// Says how far the work is, and never waits for whoever reads that.
final class ProgressTeller: Sendable {
  /// Often enough for eyes, and rare enough to cost nothing.
  static let intervalNanoseconds: UInt64 = 500_000_000

  private let target: Int32
  private let isJSON: Bool
  private let isTerminal: Bool

  init(_ target: Int32, isJSON: Bool, isTerminal: Bool) {
    self.target = target
    self.isJSON = isJSON
    self.isTerminal = isTerminal
  }

  func tell(_ moment: Progress.Moment) {
    let line = line(moment)
    // It is shorter than what a pipe takes at once (pipe(7), PIPE_BUF), so this never waits.
    let ready = try? UnixSocket.wait(
      for: target, toWrite: true, until: Deadline(timeoutMilliseconds: 0), signals: nil)
    guard case .ready? = ready else { return }
    try? unsafe FileDescriptor(borrowing: target).writeAll(line.span.bytes)
  }

  private func line(_ moment: Progress.Moment) -> [UInt8] {
    if isJSON { return (try? Console.line(json: ProgressReport(moment))) ?? [] }
    // Back to the line's start and over what stands there; in the end nothing is left of it.
    if isTerminal { return [UInt8](("\r\u{1B}[K" + (moment.isLast ? "" : moment.text)).utf8) }
    return [UInt8]((moment.text + "\n").utf8)
  }
}

/// A line of progress for programs; what is not known is left out.
private struct ProgressReport: Encodable {
  let type = "progress"
  let doneBytes: UInt64
  let totalBytes: UInt64?
  let bytesPerSecond: UInt64
  let nanoseconds: UInt64
  let nanosecondsLeft: UInt64?
  let isLast: Bool

  init(_ moment: Progress.Moment) {
    doneBytes = moment.doneBytes
    totalBytes = moment.totalBytes
    bytesPerSecond = moment.bytesPerSecond
    nanoseconds = moment.nanoseconds
    nanosecondsLeft = moment.nanosecondsLeft
    isLast = moment.isLast
  }
}

extension Progress.Moment {
  /// Since the beginning.
  fileprivate var bytesPerSecond: UInt64 {
    nanoseconds == 0 ? 0 : UInt64(Double(doneBytes) * 1e9 / Double(nanoseconds))
  }

  /// At the same rate; nil if it is not known how much there is.
  fileprivate var nanosecondsLeft: UInt64? {
    guard let totalBytes, bytesPerSecond > 0 else { return nil }
    let left = totalBytes - min(totalBytes, doneBytes)
    return UInt64(Double(left) * 1e9 / Double(bytesPerSecond))
  }

  var text: String {
    var text = Self.size(doneBytes)
    if let totalBytes { text += " of " + Self.size(totalBytes) }
    text += ", " + Self.size(bytesPerSecond) + "/s"
    if let nanosecondsLeft { text += ", \((nanosecondsLeft + 999_999_999) / 1_000_000_000) s left" }
    return text
  }

  /// In MiB, with one place behind the point.
  private static func size(_ bytes: UInt64) -> String {
    let tenths = bytes / ((1 << 20) / 10)
    return "\(tenths / 10).\(tenths % 10) MiB"
  }
}
