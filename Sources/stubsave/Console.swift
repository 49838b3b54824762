import ArgumentParser
import Foundation
import SaveDisk
import Synchronization
import SystemIO
import Toolstack
import Transfer

/// Data on standard output, messages on standard error.
enum Console {
  private static let keepsWarningsBack = Mutex(false)

  /// From now on nothing is said of what went well all the same: the state goes to where that would
  /// be said.
  static func keepWarningsBack() { keepsWarningsBack.withLock { $0 = true } }

  /// One line on standard error, about something that went well all the same.
  static func warn(_ text: PlainText) {
    if !keepsWarningsBack.withLock({ $0 }) { complain(text) }
  }

  /// One line on standard error.
  static func complain(_ text: PlainText) {
    var line = PlainText()
    line.append("stubsave: ")
    line.append(text)
    // If standard error takes nothing there is nobody left to tell; the exit code remains (but a
    // pipe that nobody reads ends the process by SIGPIPE, as it does for other programs).
    try? write(line.bytes + [UInt8(ascii: "\n")], to: FileDescriptor(borrowing: 2))
  }

  /// One line on standard error about something that went well all the same.
  static func warn(_ path: SystemPath, _ warning: PlainText) {
    var text = PlainText()
    text.append("warning: ")
    text.append(escaping: path.bytes)
    text.append(": ")
    text.append(warning)
    warn(text)
  }

  /// A message of the argument parser: several lines, with words of the command line in it.
  static func print(_ message: String, toStandardError: Bool) {
    var text = PlainText()
    for line in message.split(separator: "\n", omittingEmptySubsequences: false) {
      // Escapes a backslash as well, which no message of the parser's own has.
      text.append(escaping: ArgumentText.decode(String(line)), maxBytes: .max)
      text.append("\n")
    }
    try? write(text.bytes, to: FileDescriptor(borrowing: toStandardError ? 2 : 1))
  }

  /// A usage error as JSON.
  static func report(_ code: ExitCode, _ message: String) {
    var text = PlainText()
    let line = message.split(separator: "\n").first ?? ""
    text.append(escaping: ArgumentText.decode(String(line)))
    let status = UInt8(clamping: code.rawValue)
    try? say(json: ErrorReport(exitCode: status, message: text.text))
  }

  /// One line on standard output.
  static func say(_ line: String) throws(ToolError) {
    try sayBytes([UInt8](line.utf8) + [UInt8(ascii: "\n")])
  }

  /// One JSON document on one line of standard output, ASCII only.
  static func say(json: some Encodable) throws(ToolError) { try sayBytes(line(json: json)) }

  /// One JSON document and the line's end.
  static func line(json: some Encodable) throws(ToolError) -> [UInt8] {
    let encoder = JSONEncoder()
    encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
    guard let data = try? encoder.encode(json) else {
      throw ToolError(.internalError, nil) { $0.append("cannot make JSON") }
    }
    return [UInt8](data) + [UInt8(ascii: "\n")]
  }

  private static func sayBytes(_ bytes: [UInt8]) throws(ToolError) {
    do throws(SystemError) {
      try write(bytes, to: .standardOutput)
    } catch {
      throw ToolError(.ioError, nil) {
        $0.append("cannot write to standard output: ")
        $0.append(error)
      }
    }
  }

  private static func write(
    _ bytes: [UInt8], to target: borrowing FileDescriptor
  ) throws(SystemError) {
    try unsafe target.writeAll(bytes.span.bytes)
  }

  /// Runs a command and ends with its exit code; an error becomes a line on standard error.
  static func run(json: Bool, _ body: () throws(ToolError) -> ExitStatus) throws {
    let status: ExitStatus
    do throws(ToolError) {
      status = try body()
    } catch {
      complain(error.text)
      if json {
        try? say(json: ErrorReport(exitCode: error.status.rawValue, message: error.text.text))
      }
      status = error.status
    }
    if status != .good { throw ExitCode(Int32(status.rawValue)) }
  }
}

/// What `--json` gives when a command fails before it has a report of its own.
struct ErrorReport: Encodable {
  let type = "error"
  let exitCode: UInt8
  let message: String

  enum CodingKeys: CodingKey { case type, exitCode, message }
}
