import Foundation

/// How much of an exhaustive test is done: all of it in release builds, a sample in debug builds
/// and under sanitizers, where the same takes ten times as long. `make test` runs both.
public enum Thoroughness {
  #if DEBUG
    public static let isExhaustive = false
  #else
    public static let isExhaustive = true
  #endif

  /// Under a sanitizer, which slows a debug build down by five to ten times again, every seventh.
  public static let stride =
    ProcessInfo.processInfo.environment["STUBSAVE_SANITIZER"] == nil ? 1 : 7

  /// Of `all` cases, so many in a debug build.
  public static func count(_ all: Int, debug: Int) -> Int { isExhaustive ? all : min(all, debug) }
}
