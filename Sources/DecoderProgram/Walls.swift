import Decoding
import SystemIO
import Transfer

/// Shuts this process off, as far as the kernel lets it. No wall stands on another: each is built,
/// whatever became of the rest.
enum Walls {
  /// The first of 65536 users that no account has: beyond what systemd gives to services and
  /// containers, below what is no number any more (uids-gids.md of systemd).
  private static let firstUser: UInt32 = 0x7375_0000
  /// Where those are not mapped, in a container: `nobody`.
  private static let nobody: UInt32 = 65_534

  /// - Returns: those that stand.
  /// - Throws: if the parent has gone, or files of its stay open.
  static func build(for request: DecodeRequest) throws(SystemError) -> WallSet {
    var walls = WallSet()
    #if STUBSAVE_PLANTED_BUG
      if PlantedBug.lies(in: "without-walls") { return .all }
      let hasNoFilter = PlantedBug.lies(in: "without-filter")
    #endif
    try Isolation.closeFiles(from: DecodeRequest.File.count)
    // While /proc is there, and files may be opened.
    let isMemoryLimited = attempt { () throws(SystemError) in
      try Isolation.limitMemory(moreBytes: request.maxMemoryBytes)
    }
    let isRoot = Isolation.isRoot
    // Root needs none; who has none there finds the next ones refused.
    if !isRoot { _ = attempt(Isolation.enterUserNamespace) }
    if attempt(Isolation.enterIPCNamespace) { walls.insert(.ipc) }
    if attempt(Isolation.enterNetworkNamespace) { walls.insert(.network) }
    if attempt(Isolation.emptyRoot) { walls.insert(.files) }
    if !isRoot || becomeNobodyElse(request) { walls.insert(.identity) }
    let hasNone = attempt(Isolation.dropCapabilities)
    if attempt(Isolation.forbidNewPrivileges) && hasNone { walls.insert(.privileges) }
    if attempt(Isolation.hideMemory) { walls.insert(.hidden) }
    try Isolation.endWithParent(request.parent)
    walls.insert(.bound)
    if limit(request) && isMemoryLimited { walls.insert(.limits) }
    #if STUBSAVE_PLANTED_BUG
      if hasNoFilter { return .all }
    #endif
    if SystemCallFilter.load() { walls.insert(.filter) }
    return walls
  }

  private static func attempt(_ build: () throws(SystemError) -> Void) -> Bool {
    do throws(SystemError) {
      try build()
      return true
    } catch {
      return false
    }
  }

  /// Two decoders at a time are two users.
  private static func becomeNobodyElse(_ request: DecodeRequest) -> Bool {
    let own = firstUser + UInt32(truncatingIfNeeded: Isolation.processNumber) % 65_536
    return attempt { () throws(SystemError) in try Isolation.become(user: own) }
      || attempt { () throws(SystemError) in try Isolation.become(user: nobody) }
  }

  private static func limit(_ request: DecodeRequest) -> Bool {
    attempt { () throws(SystemError) in
      try Isolation.limitFiles(bytes: request.maxOutputBytes)
      try Isolation.limitProcessor(seconds: request.maxSeconds)
      try Isolation.limitTheRest()
    }
  }
}
