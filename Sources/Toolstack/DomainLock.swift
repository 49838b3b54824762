import SaveDisk
import SystemIO
import Transfer

/// Keeps a second command off a stubdomain. Goes with the process, however that ends.
struct DomainLock: ~Copyable {
  private let file: OwnedFile
  /// A guest that a command had paused which was killed before it could let it go on.
  let pausedGuest: UInt32?

  static let prefix = "domain-"
  private static let pausedWord = "paused "
  /// `gc` has a domain for milliseconds, and 2 s longer for each disk of a stubdomain that does not
  /// let go; of libxl's 10 s for a command enough must be left.
  private static let collectorMilliseconds: UInt64 = 5_000

  /// - Throws: `.busy` if another command has it; `gc` is waited for.
  init(domid: UInt32) throws(ToolError) {
    try RuntimeDirectory.make()
    let path = DomainLock.path(domid)
    self.init(
      try OwnedFile.claim(
        path, busy: "another stubsave is at work with this domain",
        waiting: Deadline(timeoutMilliseconds: DomainLock.collectorMilliseconds), forOwner: .now))
  }

  private init(_ file: consuming OwnedFile) {
    pausedGuest = DomainLock.pausedGuest(in: file.leftBehind)
    self.file = file
  }

  /// For `gc`: commands that come meanwhile wait, and are not told that they may not.
  ///
  /// - Parameter deadline: so long another `gc` is waited for.
  /// - Returns: nil if somebody is at work there.
  static func toCollect(domid: UInt32, until deadline: Deadline) throws(ToolError) -> DomainLock? {
    guard
      let file = try OwnedFile.collect(
        path(domid), isMade: true, waiting: deadline, forOwner: .now)
    else { return nil }
    return DomainLock(file)
  }

  /// Until here it is held: the compiler may end what nobody uses any more.
  consuming func end() {}

  private static func path(_ domid: UInt32) -> SystemPath {
    var name = PlainText()
    name.append("domain-")
    name.append(UInt64(domid))
    return RuntimeDirectory.entry(name)
  }

  /// Whether a command is at work with a domain now.
  static func isHeld(domid: UInt32) -> Bool { OwnedFile.isOwned(path(domid)) }

  private static func pausedGuest(in bytes: [UInt8]) -> UInt32? {
    let text = String(decoding: bytes, as: UTF8.self)
    return text.hasPrefix(pausedWord) ? UInt32(text.dropFirst(pausedWord.count)) : nil
  }

  /// Says, before a guest is paused, that it is to go on if nobody else can see to it any more; nil
  /// that it does.
  func note(paused guest: UInt32?) throws(ToolError) {
    var text = PlainText()
    if let guest {
      text.append("paused ")
      text.append(UInt64(guest))
    }
    try file.say(text)
  }
}
