import SaveDisk

/// What shuts the decoder's process off, each by itself. Numbers are bits in messages.
public enum Wall: UInt32, Sendable, BitwiseCopyable, CaseIterable {
  /// No new privileges and no capabilities.
  case privileges = 0
  /// A user that nobody else is.
  case identity = 1
  /// A root directory in which nothing is.
  case files = 2
  /// No IPC of others.
  case ipc = 3
  /// No network.
  case network = 4
  /// Memory, time, sizes, open files, processes.
  case limits = 5
  /// No core, and no look from outside.
  case hidden = 6
  /// Ends with its parent.
  case bound = 7
  /// No system calls but reading, writing, memory and the end.
  case filter = 8

  public var words: StaticString {
    switch self {
    case .privileges: "a process without privileges"
    case .identity: "a user of its own"
    case .files: "an empty file system"
    case .ipc: "an own IPC namespace"
    case .network: "an own network namespace"
    case .limits: "resource limits"
    case .hidden: "memory that cannot be looked into"
    case .bound: "an end together with stubsave"
    case .filter: "a system call filter"
    }
  }
}

/// Some of the walls.
public struct WallSet: Equatable, Sendable, BitwiseCopyable {
  public private(set) var bits: UInt32

  public init() { bits = 0 }

  /// Nil if a bit has no meaning.
  public init?(bits: UInt32) {
    if bits & ~WallSet.all.bits != 0 { return nil }
    self.bits = bits
  }

  public static var all: WallSet {
    var all = WallSet()
    for wall in Wall.allCases { all.insert(wall) }
    return all
  }

  public mutating func insert(_ wall: Wall) { bits |= 1 << wall.rawValue }

  public func contains(_ wall: Wall) -> Bool { bits >> wall.rawValue & 1 == 1 }

  /// Those that are not in it.
  public var missing: WallSet {
    var rest = WallSet.all
    rest.bits &= ~bits
    return rest
  }

  public var isEmpty: Bool { bits == 0 }
}

extension PlainText {
  /// "an empty file system, a system call filter"
  public mutating func append(walls bits: UInt32) {
    var isFirst = true
    for wall in Wall.allCases where bits >> wall.rawValue & 1 == 1 {
      if !isFirst { append(", ") }
      append(wall.words)
      isFirst = false
    }
  }
}
