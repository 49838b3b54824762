import SaveDisk
import Synchronization
import SystemIO
import Transfer

/// How this process looks at what comes from outside; set once, by the command line.
public enum DecoderSetting {
  struct Current: Sendable {
    var place = Place.here
    var requiresAllWalls = false
    var timeoutMilliseconds: UInt64?
    var warn: @Sendable (PlainText) -> Void = { _ in }
    var hasWarned = false
  }

  enum Place: Sendable {
    /// Within this process: a library that has not been told otherwise.
    case here
    case program(SystemPath)
    /// The program was to be used, and is not there.
    case missing
  }

  private static let setting = Mutex(Current())

  static let name = "stubsave-decode"

  /// From now on `stubsave-decode` is used.
  ///
  /// - Parameters:
  ///   - requiresAllWalls: where a wall is missing, or the program, nothing is looked at.
  ///   - timeoutMilliseconds: for each look; nil is no limit but the decoder's own, of processor
  ///     time.
  ///   - warn: is told, once, what is missing.
  public static func useProgram(
    requiresAllWalls: Bool, timeoutMilliseconds: UInt64? = nil,
    warn: @escaping @Sendable (PlainText) -> Void
  ) {
    let program = AgentProgram.find(name)
    setting.withLock {
      $0 = Current(
        place: program.map { .program($0) } ?? .missing, requiresAllWalls: requiresAllWalls,
        timeoutMilliseconds: timeoutMilliseconds, warn: warn)
    }
  }

  static var current: Current { setting.withLock { $0 } }

  /// Of a look that begins now; nil if there is none.
  static var deadline: Deadline? {
    current.timeoutMilliseconds.map { Deadline(timeoutMilliseconds: $0) }
  }

  /// That what was waited for took longer.
  ///
  /// - Parameter what: has not happened.
  static func late(_ path: SystemPath, _ what: StaticString) -> ToolError {
    let milliseconds = current.timeoutMilliseconds ?? 0
    return ToolError(.deadline, path) {
      $0.append(what)
      $0.append(" within ")
      $0.append(seconds: milliseconds)
      $0.append(" s (--timeout)")
    }
  }

  static func warn(ofMissing walls: WallSet) {
    warn {
      $0.append("the decoder's sandbox is not complete: missing ")
      $0.append(walls: walls.bits)
    }
  }

  static func warnOfMissingProgram() {
    warn {
      $0.append("stubsave-decode is neither beside stubsave nor in ../lib/stubsave: ")
      $0.append("what comes from outside is looked at without a sandbox")
    }
  }

  private static func warn(_ build: (inout PlainText) -> Void) {
    let told = setting.withLock { setting -> (@Sendable (PlainText) -> Void)? in
      if setting.hasWarned { return nil }
      setting.hasWarned = true
      return setting.warn
    }
    guard let told else { return }
    var text = PlainText()
    text.append("warning: sandbox: ")
    build(&text)
    told(text)
  }
}

extension PlainText {
  /// "60" or "0.25".
  mutating func append(seconds milliseconds: UInt64) {
    append(milliseconds / 1000)
    var rest = milliseconds % 1000
    if rest == 0 { return }
    append(".")
    var unit: UInt64 = 100
    while rest != 0 {
      append(rest / unit)
      rest %= unit
      unit /= 10
    }
  }
}
