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

  /// - Throws: `.busy` if another command has it.
  init(domid: UInt32) throws(ToolError) {
    try RuntimeDirectory.make()
    let claimed = try OwnedFile.claim(
      DomainLock.path(domid), busy: "another stubsave is at work with this domain")
    pausedGuest = DomainLock.pausedGuest(in: claimed.leftBehind)
    file = claimed
  }

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
