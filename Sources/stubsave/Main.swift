import ArgumentParser
import CProgram
import SaveDisk
import SystemIO

/// The program's entry: arguments byte for byte in, printable ASCII out.
@main
enum Main {
  static func main() {
    StandardStreams.reserve()
    FileSizeLimit.becomesAnError()
    if QMPProxyProgram.isCalled {
      do {
        if let words = try QMPProxyProgram.words() { run(words) }
      } catch {
        Stubsave.exit(withError: Stubsave.exitCode(for: error))
      }
      return
    }
    var words: [SystemPath] = []
    for index in 1..<max(stubsave_argument_count(), 1) {
      guard let argument = unsafe stubsave_argument(index) else { continue }
      words.append(unsafe SystemPath(copying: argument))
    }
    if let plain = PlainForm(words) {
      do { try plain.run() } catch { Stubsave.exit(withError: Stubsave.exitCode(for: error)) }
      return
    }
    run(words.map { ArgumentText.encode($0.bytes) })
  }

  private static func run(_ arguments: [String]) {
    do {
      var command = try Stubsave.parseAsRoot(arguments)
      try command.run()
    } catch {
      let code = Stubsave.exitCode(for: error)
      // Empty for an exit code of our own, whose reason has been said.
      let message = Stubsave.fullMessage(for: error)
      if !message.isEmpty {
        Console.print(message, toStandardError: code != .success)
        if code != .success && arguments.contains("--json") { Console.report(code, message) }
      }
      Stubsave.exit(withError: code)
    }
  }
}
