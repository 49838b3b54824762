import SaveDisk
import SystemIO
import Transfer
import Xen
import Xenstore

/// Starting `console-log` for a stubdomain.
enum ConsoleProcess {
  /// This program, which may have been replaced since it was started.
  private static var program: SystemPath {
    let link = SystemPath(word: "/proc/self/exe")
    guard let path = try? Names.target(of: link), (try? FileStatus.of(path)) != nil else {
      return link
    }
    return path
  }
  private static let startMilliseconds: UInt64 = 10_000
  private static let lookMilliseconds: UInt64 = 5

  /// Returns once it reads the console; it then goes on without this process, to the domain's end.
  ///
  /// - Returns: false if it does not, which it has said by itself: nothing is left of it.
  static func start(_ options: ConsoleLogOptions) throws(ToolError) -> Bool {
    let name = SystemPath(word: "domain ", number: UInt64(options.stubdomain))
    var xenstore = try XenstoreConnection.dom0(options.xenstore)
    let log = try onXen(name) { () throws(XenError) in
      try ConsoleNodes.log(options.stubdomain, &xenstore)
    }
    if log == nil { return false }
    let program = program
    var process = try attempt(program) { () throws(SystemError) in
      try ChildProcess.start(
        program,
        [
          SystemPath(word: "stubsave"), SystemPath(word: "console-log"),
          SystemPath(word: "--xenstore"), options.xenstore, SystemPath(word: "--max-console"),
          SystemPath(word: "", number: options.maxBytes),
          SystemPath(word: "", number: UInt64(options.stubdomain)),
        ], files: [], standardError: 2)
    }
    let deadline = Deadline(timeoutMilliseconds: startMilliseconds)
    while !deadline.hasPassed {
      let isTaken = try onXen(name) { () throws(XenError) in
        try ConsoleNodes.isLogTaken(options.stubdomain, &xenstore)
      }
      if isTaken {
        process.letRun()
        return true
      }
      let hasEnded = try attempt(program) { () throws(SystemError) in
        try Readable.wait(
          for: [Readable.Interest(process.number)],
          until: Deadline(timeoutMilliseconds: lookMilliseconds))[0]
      }
      if hasEnded { break }
    }
    return false
  }
}
