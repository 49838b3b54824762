import SaveDisk
import SystemIO
import Transfer
import Xen
import Xenstore

public struct ConsoleLogOptions: Sendable {
  public let stubdomain: UInt32
  public let xenstore: SystemPath
  /// Of the log and its older half together; 0 is no limit.
  public let maxBytes: UInt64

  public init(stubdomain: UInt32, xenstore: SystemPath, maxBytes: UInt64) {
    self.stubdomain = stubdomain
    self.xenstore = xenstore
    self.maxBytes = maxBytes
  }
}

/// `console-log`: serves a stubdomain's first console, its log, in the place of the QEMU that libxl starts
/// for it. A process of its own, because a kernel whose console nobody reads stands in printk: it must be
/// read whatever `qmp-proxy` waits for, and also when that is there no more.
public enum ConsoleService {
  /// Between two looks at whether the domain is still there, if a lot is written.
  private static let maxTakes = 64

  /// Runs until the domain has ended, or by a signal.
  public static func run(
    _ options: ConsoleLogOptions, log: (PlainText) -> Void
  ) throws(ToolError) {
    let name = SystemPath(word: "console 0 of domain ", number: UInt64(options.stubdomain))
    let signals = try attempt(name) { () throws(SystemError) in try EndingSignals() }
    var xenstore = try XenstoreConnection.dom0(options.xenstore)
    let found = try onXen(name) { () throws(XenError) in
      try ConsoleNodes.log(options.stubdomain, &xenstore)
    }
    guard let found else {
      throw ToolError(.notFound, name) { $0.append("is none that a QEMU would write to a file") }
    }
    var file = try attempt(found.file) { () throws(SystemError) in
      try ConsoleLog(found.file, maxBytes: options.maxBytes)
    }
    var watch = try onXen(name) { () throws(XenError) in
      try DomainWatch(domid: options.stubdomain, options.xenstore)
    }
    var console = try onXen(name) { () throws(XenError) in
      try DomainConsole(domid: options.stubdomain, port: found.port)
    }
    // From now on somebody reads it.
    try onXen(name) { () throws(XenError) in
      try ConsoleNodes.takeLog(options.stubdomain, &xenstore)
    }
    while true {
      let isMore = drain(&console, into: &file, found.file, log)
      let ready = try attempt(name) { () throws(SystemError) in
        try Readable.wait(
          for: [
            Readable.Interest(signals.number), Readable.Interest(watch.number),
            Readable.Interest(console.number),
          ],
          until: Deadline(timeoutMilliseconds: isMore ? 0 : .max))
      }
      if ready[2] { console.takeEvent() }
      var isOver = ready[0]
      if ready[1] {
        let news = try onXen(name) { () throws(XenError) in try watch.take() }
        isOver = isOver || news.isGone
      }
      if isOver {
        // Its last words; the page is there as long as it is mapped.
        _ = drain(&console, into: &file, found.file, log)
        break
      }
    }
    signals.settle()
  }

  /// - Returns: whether there may be more.
  private static func drain(
    _ console: inout DomainConsole, into file: inout ConsoleLog, _ path: SystemPath,
    _ log: (PlainText) -> Void
  ) -> Bool {
    for _ in 0..<maxTakes {
      // What its index says cannot be: that is passed over, and its own doing.
      guard let bytes = console.take() else { continue }
      if bytes.isEmpty {
        tell(of: file.takeLoss(), path, log)
        return false
      }
      file.append(bytes)
    }
    return true
  }

  private static func tell(
    of loss: (bytes: UInt64, failure: SystemError?)?, _ path: SystemPath,
    _ log: (PlainText) -> Void
  ) {
    guard let loss else { return }
    var text = PlainText()
    text.append(escaping: path.bytes)
    text.append(": ")
    text.append(loss.bytes)
    text.append(" bytes of the console are lost")
    if let failure = loss.failure {
      text.append(": ")
      text.append(escaping: failure.text)
    }
    log(text)
  }
}
