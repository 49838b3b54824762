import Foundation
import SaveDisk
import SystemIO
import Transfer

/// `/run/stubsave/proxy-S`: that a `qmp-proxy` serves a stubdomain, and what one has to know that comes in its
/// place: which program it has running behind it, and whether libxl has a guest stopped.
struct ProxyMark: ~Copyable {
  private var file: OwnedFile?
  /// The one before has left its guest so.
  private(set) var wasStopped = false
  private var leftProgram: ProcessIdentity?
  private var program: ProcessIdentity?
  private var path: [UInt8] = []
  private var isStopped = false

  static let prefix = "proxy-"
  static let turnPrefix = "adopt-"
  /// More does not fit into what is read of it.
  private static let maxPathBytes = 180
  private static let stoppedWord = "stopped"
  /// One that ends is waited for.
  private static let ownerMilliseconds: UInt64 = 1_000

  /// - Throws: `.busy` if another one is there.
  static func claim(_ domid: UInt32) throws(ToolError) -> ProxyMark {
    try RuntimeDirectory.make()
    return ProxyMark(
      try OwnedFile.claim(
        path(domid), busy: "another qmp-proxy serves this stubdomain",
        waiting: Deadline(timeoutMilliseconds: ownerMilliseconds),
        forOwner: Deadline(timeoutMilliseconds: ownerMilliseconds)))
  }

  /// Of a command that starts one.
  struct Turn: ~Copyable {
    fileprivate let file: OwnedFile

    /// Until here it is held.
    consuming func end() {}
  }

  /// - Throws: `.busy` if another command starts one.
  static func claimTurn(_ domid: UInt32) throws(ToolError) -> Turn {
    try RuntimeDirectory.make()
    return Turn(
      file: try OwnedFile.claim(
        path(domid, turnPrefix), busy: "another command starts a proxy for this stubdomain",
        waiting: .now, forOwner: .now))
  }

  private init(_ file: consuming OwnedFile) {
    let words = String(decoding: file.leftBehind, as: UTF8.self).split(separator: " ")
    if words.count >= 2, let process = Int32(words[0]), let start = UInt64(words[1]) {
      leftProgram = ProcessIdentity(process: process, start: start)
    }
    wasStopped = words.count >= 3 && words[2] == Self.stoppedWord
    self.file = consume file
  }

  static func path(_ domid: UInt32, _ prefix: String = prefix) -> SystemPath {
    var name = PlainText()
    name.append(escaping: prefix.utf8)
    name.append(UInt64(domid))
    return RuntimeDirectory.entry(name)
  }

  /// Whether a proxy serves that stubdomain now.
  static func isOwned(_ domid: UInt32) -> Bool { OwnedFile.isOwned(path(domid)) }

  /// Whether one has been killed there.
  static func isLeft(_ domid: UInt32) -> Bool {
    OwnedFile.look(at: path(domid)) != nil && !isOwned(domid)
  }

  /// Of a stubdomain that is there no more.
  ///
  /// - Returns: whether it was there without an owner.
  static func removeLeft(_ domid: UInt32, _ prefix: String) throws(ToolError) -> Bool {
    guard
      let file = try OwnedFile.collect(
        path(domid, prefix), isMade: false, waiting: .now, forOwner: .now)
    else { return false }
    file.remove()
    return true
  }

  /// Ends what the one before had running, should it run still: it has the channel.
  mutating func takeInheritance() -> [PlainText] {
    guard let left = leftProgram.take(), left.end() else { return [] }
    var text = PlainText()
    text.append("the program of a qmp-proxy that was killed was ended: process ")
    text.append(UInt64(left.process))
    return [text]
  }

  /// The path of the program that a proxy had running, be it killed or not; nil if nothing tells.
  static func programLeft(_ domid: UInt32) -> String? {
    guard let bytes = OwnedFile.look(at: path(domid)) else { return nil }
    // The rest of the line: it may have spaces.
    let words = bytes.split(separator: UInt8(ascii: " "), maxSplits: 3)
    return words.count > 3 ? String(decoding: words[3], as: UTF8.self) : nil
  }

  mutating func note(_ program: borrowing ProxiedProgram, _ path: SystemPath) {
    self.program = ProcessIdentity(program.processID)
    self.path = [UInt8](path.bytes)
    say()
  }

  mutating func note(isStopped: Bool) {
    if isStopped == self.isStopped { return }
    self.isStopped = isStopped
    say()
  }

  /// A guest that stands for libxl is so still when another proxy comes.
  mutating func end() {
    guard let file = file.take() else { return }
    if isStopped { file.keep() }
  }

  private func say() {
    var text = PlainText()
    text.append(UInt64(program?.process ?? 0))
    text.append(" ")
    text.append(program?.start ?? 0)
    text.append(isStopped ? " stopped " : " runs ")
    if path.count <= Self.maxPathBytes { text.append(escaping: path) }
    // What was said before stands then.
    try? file?.say(text)
  }
}

/// A process, and no other that gets its number later.
struct ProcessIdentity {
  let process: Int32
  /// In the kernel's ticks since it was started (proc(5), stat).
  let start: UInt64

  private static let killMilliseconds: UInt64 = 2_000

  init(process: Int32, start: UInt64) {
    self.process = process
    self.start = start
  }

  /// Nil if there is none.
  init?(_ process: Int32) {
    guard let stat = FileManager.default.contents(atPath: "/proc/\(process)/stat"),
      let end = stat.lastIndex(of: UInt8(ascii: ")"))
    else { return nil }
    // The name may have spaces; the 22nd field is the 20th behind it.
    let words = String(decoding: stat[(end + 1)...], as: UTF8.self).split(separator: " ")
    // One that nobody has reaped has ended.
    guard words.count > 19, words[0] != "Z", let start = UInt64(words[19]) else { return nil }
    self.init(process: process, start: start)
  }

  /// - Returns: whether it was there.
  func end() -> Bool {
    guard let other = try? OtherProcess(process),
      let found = ProcessIdentity(process), found.start == start
    else { return false }
    try? other.kill()
    _ = try? other.wait(until: Deadline(timeoutMilliseconds: Self.killMilliseconds))
    return true
  }
}
