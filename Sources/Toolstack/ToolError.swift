import SaveDisk
import SystemIO
import Transfer

/// Why a command failed: its exit code, and one line that says what, where and what to do.
public struct ToolError: Error, Sendable {
  public let status: ExitStatus
  /// Path and reason.
  public private(set) var text: PlainText
  /// The same without the path.
  public private(set) var reason: PlainText
  /// A guest that has been stopped could not be told to go on: to be said whatever happens.
  public private(set) var guestStaysStopped = false

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

  /// The same, and that the guest stays stopped.
  init(withGuestStopped error: ToolError) {
    var words = PlainText()
    words.append("; the guest was stopped, and could not be told to go on")
    self.init(error, and: words)
    guestStaysStopped = true
  }

  /// The same, and more words.
  init(_ error: ToolError, and words: PlainText) {
    self = error
    text.append(words)
    reason.append(words)
  }

  public init(_ error: SystemError, _ path: SystemPath) {
    self.init(ExitStatus(error), path) { $0.append(error) }
  }

  /// A state that is larger than `--max-state`.
  static func overMaxState(
    _ path: SystemPath, stateBytes: UInt64, maxBytes: UInt64
  ) -> ToolError {
    ToolError(.overLimit, path) {
      $0.append("the state has ")
      $0.append(stateBytes)
      $0.append(" bytes, the limit is ")
      $0.append(maxBytes)
      $0.append("; --max-state raises it")
    }
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
