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

  /// What tells; nil if nothing is to be told.
  ///
  /// - Parameter source: what is gone through; of a regular file it is known how much that is.
  func make(for source: borrowing FileDescriptor) throws(ToolError) -> Progress? {
    let target = progressDescriptor ?? 2
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
    let isTerminal = FileDescriptor(borrowing: target).isTerminal
    let form: ProgressForm
    switch progress {
    case .auto where progressDescriptor != nil: form = .json
    case .auto where isTerminal: form = .always
    case .auto, .never: return nil
    case let given: form = given
    }
    var totalBytes: UInt64?
    if let status = try? source.status(), status.kind == .regular { totalBytes = status.bytes }
    let teller = ProgressTeller(target, isJSON: form == .json, isTerminal: isTerminal)
    return Progress(
      totalBytes: totalBytes, intervalNanoseconds: ProgressTeller.intervalNanoseconds
    ) { teller.tell($0) }
  }

  /// The same of a disk by its path; it is opened a second time, and only looked at.
  func make(forDisk path: SystemPath) throws(ToolError) -> Progress? {
    if progress == .never
      || (progress == .auto && progressDescriptor == nil
        && !FileDescriptor(borrowing: 2).isTerminal)
    {
      return nil
    }
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
    let text: String
    if isJSON {
      text = moment.json + "\n"
    } else if isTerminal {
      // Back to the line's start and over what stands there; in the end nothing is left of it.
      text = "\r\u{1B}[K" + (moment.isLast ? "" : moment.text)
    } else {
      text = moment.text + "\n"
    }
    // A line is shorter than what a pipe takes at once (pipe(7), PIPE_BUF), so this never waits.
    let ready = try? UnixSocket.wait(
      for: target, toWrite: true, until: Deadline(timeoutMilliseconds: 0), signals: nil)
    guard case .ready? = ready else { return }
    let bytes = [UInt8](text.utf8)
    try? unsafe FileDescriptor(borrowing: target).writeAll(bytes.span.bytes)
  }
}

extension Progress.Moment {
  /// Since the beginning.
  private var bytesPerSecond: UInt64 {
    nanoseconds == 0 ? 0 : UInt64(Double(doneBytes) * 1e9 / Double(nanoseconds))
  }

  /// At the same rate; nil if it is not known how much there is.
  private var nanosecondsLeft: UInt64? {
    guard let totalBytes, bytesPerSecond > 0 else { return nil }
    let left = totalBytes - min(totalBytes, doneBytes)
    return UInt64(Double(left) * 1e9 / Double(bytesPerSecond))
  }

  var json: String {
    var fields = ["\"type\":\"progress\"", "\"doneBytes\":\(doneBytes)"]
    if let totalBytes { fields.append("\"totalBytes\":\(totalBytes)") }
    fields.append("\"bytesPerSecond\":\(bytesPerSecond)")
    fields.append("\"nanoseconds\":\(nanoseconds)")
    if let nanosecondsLeft { fields.append("\"nanosecondsLeft\":\(nanosecondsLeft)") }
    fields.append("\"isLast\":\(isLast)")
    return "{" + fields.joined(separator: ",") + "}"
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
