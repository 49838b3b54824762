import Codecs
import SaveDisk
import SystemIO
import Transfer

/// Entry from main.c.
///
/// - Returns: the exit code.
@c(stubsave_agent_main)
public func agentMain(
  _ argumentCount: Int32, _ arguments: UnsafePointer<UnsafePointer<CChar>?>
) -> Int32 {
  StandardStreams.reserve()
  FileSizeLimit.becomesAnError()
  var paths: [SystemPath] = []
  for index in 1..<max(Int(argumentCount), 1) {
    if let argument = unsafe arguments[index] {
      unsafe paths.append(SystemPath(copying: argument))
    }
  }
  guard let command = AgentCommand(arguments: paths) else {
    say(AgentCommand.usage)
    return Int32(ExitStatus.usage.rawValue)
  }
  do throws(AgentFailure) {
    switch command {
    case .write(let path): try write(to: path)
    case .read(let path): try read(from: path)
    case .serve(let arguments): try serve(arguments)
    case .channel(let arguments): try channel(arguments)
    case .load(let arguments): try load(arguments)
    }
    return Int32(ExitStatus.good.rawValue)
  } catch {
    error.say()
    return Int32(error.status.rawValue)
  }
}

/// An error with its exit code and the line that is said of it.
struct AgentFailure: Error {
  let status: ExitStatus
  /// Empty if it has been said before.
  let message: PlainText

  init(status: ExitStatus, message: PlainText) {
    self.status = status
    self.message = message
  }

  init(_ status: ExitStatus, _ path: SystemPath, _ build: (inout PlainText) -> Void) {
    var text = PlainText()
    text.append("stubsave-agent: ")
    text.append(escaping: path.bytes)
    text.append(": ")
    build(&text)
    self.status = status
    self.message = text
  }

  init(_ error: SystemError, _ path: SystemPath) {
    self.init(ExitStatus(error), path) { $0.append(error) }
  }

  init(_ error: WorkFailure, _ path: SystemPath) {
    self.init(error.status, path) { $0.append(error.text) }
  }

  /// On standard error.
  func say() {
    if !message.bytes.isEmpty { write(message.bytes + [UInt8(ascii: "\n")]) }
  }
}

func say(_ text: StaticString) {
  var plain = PlainText()
  plain.append(text)
  write(plain.bytes)
}

private func write(_ bytes: [UInt8]) {
  // If standard error takes nothing there is nobody left to tell.
  try? unsafe FileDescriptor(borrowing: 2).writeAll(bytes.span.bytes)
}
