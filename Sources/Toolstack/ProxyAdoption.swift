import Foundation
import Rendezvous
import SaveDisk
import SystemIO
import Transfer
import Xen
import Xenstore

public struct AdoptionOptions: Sendable {
  public var place: StubdomainPlace
  /// What libxl would start; nil is what `hooks install` has put there.
  public var hook: SystemPath?
  /// Where libxl connects to; nil is its own choice.
  public var socket: SystemPath?
  /// Nil is where libxl has its proxies write to.
  public var log: SystemPath?
  /// For the proxy to run; a restore is judged before.
  public var timeoutMilliseconds: UInt64 = 60_000

  public init(_ place: StubdomainPlace) { self.place = place }
}

/// `proxy adopt`: a `qmp-proxy` for a stubdomain that runs, in the place of one that was killed, started as libxl
/// starts it: by the script in libxl's place, with its options, and the same words behind them. What the one
/// before has left it finds itself (`ProxyMark`, `Collecting`).
public enum ProxyAdoption {
  /// What is started.
  private struct Start {
    let stubdomain: Stubdomain
    let program: SystemPath
    let arguments: [SystemPath]
    let log: SystemPath
  }

  /// In the background, with a session of its own.
  ///
  /// - Returns: its process id.
  public static func run(_ options: AdoptionOptions) throws(ToolError) -> Int32 {
    let stubdomain = try find(options)
    // Another one would take the proxy that this one starts for its own.
    let turn = try ProxyMark.claimTurn(stubdomain.domid)
    let start = try prepare(stubdomain, options)
    let name = options.place.name
    var said = try onXen(name) { () throws(XenError) in
      try ProxyStart(start.stubdomain.domid, options.place.xenstore)
    }
    let process = try launch(start)
    let deadline = Deadline(timeoutMilliseconds: options.timeoutMilliseconds)
    while true {
      if let words = try onXen(name, { () throws(XenError) in try said.words() }) {
        if words.elementsEqual("running".utf8) { break }
        throw ended(start, words)
      }
      let ready = try attempt(name) { () throws(SystemError) in
        try Readable.wait(
          for: [Readable.Interest(said.number), Readable.Interest(process.number)],
          until: deadline)
      }
      if ready[1] {
        throw ended(start, try onXen(name) { () throws(XenError) in try said.words() } ?? [])
      }
      if deadline.hasPassed {
        try? process.terminate()
        throw ToolError(.deadline, name) {
          $0.append("the proxy does not come to run; it says why in ")
          $0.append(escaping: start.log.bytes)
        }
      }
    }
    try note(process.id, start.stubdomain, options)
    turn.end()
    return process.id
  }

  /// Becomes the proxy, for whoever watches over this process: a unit of systemd's.
  ///
  /// - Throws: returns only so.
  public static func become(_ options: AdoptionOptions) throws(ToolError) {
    let start = try prepare(try find(options), options)
    try note(Isolation.processNumber, start.stubdomain, options)
    try attempt(start.program) { () throws(SystemError) in
      try Program.become(start.program, [start.program] + start.arguments)
    }
  }

  private static func find(_ options: AdoptionOptions) throws(ToolError) -> Stubdomain {
    var xenstore = try XenstoreConnection.dom0(options.place.xenstore)
    return try onXen(options.place.name) { () throws(XenError) in
      try XenDomains.stubdomain(options.place.reference, &xenstore)
    }
  }

  private static func prepare(
    _ stubdomain: Stubdomain, _ options: AdoptionOptions
  ) throws(ToolError) -> Start {
    let name = options.place.name
    var xenstore = try XenstoreConnection.dom0(options.place.xenstore)
    let summary = try onXen(name) { () throws(XenError) in
      try Listing.summary(stubdomain, &xenstore)
    }
    if !summary.proxy.bytes.isEmpty {
      throw ToolError(.busy, name) {
        $0.append("has a proxy: ")
        $0.append(summary.proxy)
      }
    }
    var arguments = [
      SystemPath(word: "--state-path"), QMPChannel.stateNode(stubdomain.domid),
      SystemPath(word: "", number: UInt64(stubdomain.domid)),
      QMPChannel.node(of: stubdomain.target, stubdomain.domid),
    ]
    arguments.append(options.socket ?? QMPChannel.socket(of: stubdomain.target))
    let program: SystemPath
    if let hook = options.hook { program = hook } else { program = try installed(stubdomain.domid) }
    return Start(
      stubdomain: stubdomain, program: program, arguments: arguments,
      log: options.log ?? log(summary))
  }

  /// The script that libxl starts. Where there are several Xens, that of the proxy that was killed.
  private static func installed(_ stubdomain: UInt32) throws(ToolError) -> SystemPath {
    let places = try Hooks.places(HookOptions()).filter { $0.state == .ours }
    let left = ProxyMark.programLeft(stubdomain)
    let chosen = places.count == 1 ? places.first : places.first { $0.aside == left }
    guard let chosen, let path = SystemPath(chosen.path) else {
      throw ToolError(.notFound, SystemPath(word: "hooks")) {
        $0.append(
          places.isEmpty
            ? "there is none in libxl's place: `stubsave hooks install xl`"
            : "there are several, and which of them libxl has started cannot be told: --hook")
      }
    }
    return path
  }

  /// As libxl names it (libxl_dm.c, spawn_qmp_proxy).
  private static func log(_ summary: StubdomainSummary) -> SystemPath {
    let name = summary.name.text
    let isPlain =
      !name.isEmpty && name.utf8.count < 64 && !name.contains("/") && !name.contains("\\")
    return SystemPath("/var/log/xen/qmp-proxy-\(isPlain ? name : "domain-\(summary.domid)").log")
      ?? SystemPath(word: "/dev/null")
  }

  private static func launch(_ start: Start) throws(ToolError) -> OtherProcess {
    let log = try attempt(start.log) { () throws(SystemError) in
      try FileDescriptor.open(start.log, .appendLog)
    }
    return try attempt(start.program) { () throws(SystemError) in
      try OtherProcess.start(
        start.program, [start.program] + start.arguments, standardError: log.number)
    }
  }

  private static func ended(_ start: Start, _ words: [UInt8]) -> ToolError {
    ToolError(.stubdomainFailed, start.program) {
      $0.append("the proxy has ended: ")
      if words.isEmpty {
        $0.append("it says why in ")
        $0.append(escaping: start.log.bytes)
      } else {
        $0.append(escaping: words, maxBytes: 1024)
      }
    }
  }

  /// libxl ends it with its stubdomain.
  private static func note(
    _ process: Int32, _ stubdomain: Stubdomain, _ options: AdoptionOptions
  ) throws(ToolError) {
    var xenstore = try XenstoreConnection.dom0(options.place.xenstore)
    try onXen(options.place.name) { () throws(XenError) in
      try XenDomains.note(
        proxyProcess: UInt32(clamping: process), of: stubdomain.domid, &xenstore)
    }
  }
}
