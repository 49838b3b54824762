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

  /// That what is told can be, to be asked before a file is opened.
  ///
  /// - Parameters:
  ///   - inputs, outputs: what the command reads and writes, which must be something else.
  /// - Returns: whether anything is to be told.
  func check(inputs: [SystemPath], outputs: [SystemPath]) throws(ToolError) -> Bool {
    if let progressDescriptor {
      guard InheritedDescriptor.isOpen(progressDescriptor) else {
        throw unusable {
          $0.append("it is not open; `")
          $0.append(redirection)
        }
      }
      let flags = try? FileDescriptor(borrowing: progressDescriptor).flags()
      guard flags?.canWrite == true else {
        throw unusable {
          $0.append("it is not open for writing; `")
          $0.append(redirection)
        }
      }
      // A reader of the progress that goes away must not end the work.
      SignalsAsErrors.ofPipes()
    }
    guard form != nil else { return false }
    guard let mine = StreamPlace(descriptor: target) else { return true }
    for (other, isInput) in inputs.map({ ($0, true) }) + outputs.map({ ($0, false) }) {
      let place = isInput ? StreamPlace(input: other) : StreamPlace(output: other)
      guard let place, place.isShared(with: mine) else { continue }
      // A terminal is typed at and written to.
      if isInput && place.isTerminal { continue }
      if progress == .auto && progressDescriptor == nil { return false }
      throw unusable {
        $0.append("it is also ")
        if other.isHyphen {
          $0.append(isInput ? "the standard input" : "the standard output")
        } else {
          $0.append(escaping: other.bytes)
        }
        $0.append("; --progress-fd names another one, --progress never is silent")
      }
    }
    return true
  }

  private var redirection: PlainText {
    var text = PlainText()
    text.append(UInt64(clamping: target))
    text.append(">FILE` opens it in a shell")
    return text
  }

  private func unusable(_ build: (inout PlainText) -> Void) -> ToolError {
    ToolError(.usage, nil) { text in
      text.append("the progress cannot go to the open file ")
      if target < 0 { text.append("-") }
      text.append(UInt64(target.magnitude))
      text.append(": ")
      build(&text)
    }
  }

  /// What tells; nil if nothing is to be told.
  ///
  /// - Parameter source: what is gone through, from where it stands; of a regular file it is known
  ///   how much that is.
  func make(for source: borrowing FileDescriptor) -> Progress? {
    guard let form else { return nil }
    var totalBytes: UInt64?
    if let shape = try? InputShape(restOf: source), shape.kind == .file {
      totalBytes = shape.totalBytes
    }
    let teller = ProgressTeller(
      target, isJSON: form == .json, isTerminal: FileDescriptor(borrowing: target).isTerminal)
    return Progress(
      totalBytes: totalBytes, intervalNanoseconds: ProgressTeller.intervalNanoseconds
    ) { teller.tell($0) }
  }

  /// The same of a disk by its path; it is opened a second time, and only looked at.
  func make(forDisk path: SystemPath) -> Progress? {
    if form == nil { return nil }
    if let number = path.descriptor(hyphen: 0) {
      return make(for: FileDescriptor(borrowing: number))
    }
    if let kind = try? FileStatus.of(path).kind, kind == .regular,
      let file = try? FileDescriptor.open(path, .read)
    {
      return make(for: file)
    }
    // It is not known how long it is.
    return make(for: FileDescriptor(borrowing: -1))
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
  private static let second: UInt64 = 1_000_000_000

  /// Since the beginning; as much as a number can say.
  fileprivate var bytesPerSecond: UInt64 {
    Self.scale(doneBytes, by: Self.second, over: nanoseconds) ?? .max
  }

  /// At the same rate; nil if it is not known how much there is, or longer than a number can say.
  fileprivate var nanosecondsLeft: UInt64? {
    guard let totalBytes, bytesPerSecond > 0 else { return nil }
    let left = totalBytes - min(totalBytes, doneBytes)
    return Self.scale(left, by: Self.second, over: bytesPerSecond).flatMap {
      // Readers of JSON have signed numbers, if not worse.
      $0 <= UInt64(Int64.max) ? $0 : nil
    }
  }

  var text: String {
    var text = Self.size(doneBytes)
    if let totalBytes { text += " of " + Self.size(totalBytes) }
    text += ", " + Self.size(bytesPerSecond) + "/s"
    if let nanosecondsLeft {
      text += ", \((nanosecondsLeft + Self.second - 1) / Self.second) s left"
    }
    return text
  }

  /// `value * factor / divisor`; 0 of nothing, nil if it does not fit.
  static func scale(_ value: UInt64, by factor: UInt64, over divisor: UInt64) -> UInt64? {
    if divisor == 0 { return 0 }
    let product = value.multipliedFullWidth(by: factor)
    if product.high >= divisor { return nil }
    return divisor.dividingFullWidth(product).quotient
  }

  /// In MiB, with one place behind the point.
  private static func size(_ bytes: UInt64) -> String {
    let tenths = bytes / ((1 << 20) / 10)
    return "\(tenths / 10).\(tenths % 10) MiB"
  }
}
