import SaveDisk

/// What QEMU answers to `query-migrate` of devices that it cannot save, before anything is done to its
/// guest: `blocked-reasons`, which it has had since 6.0.
///
/// `xen-save-devices-state` itself does not look at them: 7.2 dies of some of the devices, and of others
/// writes what nobody can load.
public enum SaveBlockers: Sendable, Equatable {
  case none
  /// In QEMU's own words, which are bytes from outside; printable here, joined by "; ".
  case some(PlainText)

  /// Of one reason; QEMU's are shorter than 100.
  private static let maxReasonBytes = 512
  private static let maxReasons = 16

  /// - Parameter result: the token of `return`.
  /// - Returns: nil if it is no answer to `query-migrate`.
  init?(_ document: JSONDocument, _ result: Int) {
    guard document.kind(result) == .object else { return nil }
    guard let list = document.member("blocked-reasons", of: result) else {
      self = .none
      return
    }
    guard document.kind(list) == .array else { return nil }
    let reasons = document.children(of: list)
    if reasons.isEmpty {
      self = .none
      return
    }
    var text = PlainText()
    for (number, token) in reasons.enumerated() {
      guard let reason = document.string(token) else { return nil }
      if number >= SaveBlockers.maxReasons { continue }
      if number > 0 { text.append("; ") }
      text.append(escaping: reason, maxBytes: SaveBlockers.maxReasonBytes)
    }
    if reasons.count > SaveBlockers.maxReasons { text.append("; ...") }
    self = .some(text)
  }

  public static func == (left: SaveBlockers, right: SaveBlockers) -> Bool {
    switch (left, right) {
    case (.none, .none): true
    case (.some(let left), .some(let right)): left.bytes == right.bytes
    default: false
    }
  }
}
