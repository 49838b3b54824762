import SaveDisk
import SystemIO
import Transfer

/// What is done to a system, or only told.
struct HookSteps {
  let isDryRun: Bool
  private(set) var said: [PlainText] = []

  init(isDryRun: Bool) { self.isDryRun = isDryRun }

  /// - Parameter words: what has been done, or would be.
  mutating func say(_ words: String) {
    var text = PlainText()
    if isDryRun { text.append("would ") }
    text.append(escaping: words.utf8)
    said.append(text)
  }

  /// - Parameters:
  ///   - path: what an error is about.
  ///   - words: what it is, a line each.
  mutating func move(
    _ path: SystemPath, _ words: String..., body: () throws(SystemError) -> Void
  ) throws(ToolError) {
    if !isDryRun { try attempt(path, body) }
    for words in words { say(words) }
  }

  /// What is not worth a word.
  func quietly(_ path: SystemPath, body: () throws(SystemError) -> Void) throws(ToolError) {
    if !isDryRun { try attempt(path, body) }
  }
}
