import SaveDisk
import SystemIO
import Transfer

/// Why a command failed: its exit code, and one line that says what, where and what to do.
public struct ToolError: Error, Sendable {
  public let status: ExitStatus
  /// Path and reason.
  public let text: PlainText
  /// The same without the path.
  public let reason: PlainText

  public init(_ status: ExitStatus, _ path: SystemPath?, _ build: (inout PlainText) -> Void) {
    var text = PlainText()
    var reason = PlainText()
    build(&reason)
    if let path {
      text.append(escaping: path.bytes)
      text.append(": ")
    }
    text.append(reason)
    self.reason = reason
    self.status = status
    self.text = text
  }

  init(status: ExitStatus, text: PlainText, reason: PlainText) {
    self.status = status
    self.text = text
    self.reason = reason
  }

  public init(_ error: SystemError, _ path: SystemPath) {
    self.init(ExitStatus(error), path) { $0.append(error) }
  }

  public init(_ failure: DoorFailure, _ path: SystemPath) {
    self.init(ExitStatus(failure), path) { $0.append(failure) }
  }
}

/// Runs `body`; an error of the system becomes one of the command, about `path`.
func attempt<R: ~Copyable>(
  _ path: SystemPath, _ body: () throws(SystemError) -> R
) throws(ToolError) -> R {
  do throws(SystemError) { return try body() } catch { throw ToolError(error, path) }
}
