import Foundation

/// How much of an exhaustive test is done: all of it in release builds, a sample in debug builds
/// and under sanitizers, where the same takes ten times as long. `make test` runs both.
public enum Thoroughness {
  #if DEBUG
    public static let isExhaustive = false
  #else
    public static let isExhaustive = true
  #endif

  /// Every so many of the places of a disk: all in a release build, every third in a debug build,
  /// every eleventh under a sanitizer, which makes that five to ten times slower again.
  public static let stride =
    isExhaustive
    ? 1 : ProcessInfo.processInfo.environment["STUBSAVE_SANITIZER"] == nil ? 3 : 11

  /// Of `all` cases, so many in a debug build.
  public static func count(_ all: Int, debug: Int) -> Int { isExhaustive ? all : min(all, debug) }
}
