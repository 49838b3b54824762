import Foundation

/// What a test needs beside this process. Where it is missing, the test says so and is off; under
/// `make test` and in CI (STUBSAVE_REQUIRE_ALL=1) it runs and fails.
public enum Privileges {
  public static let requiresAll =
    ProcessInfo.processInfo.environment["STUBSAVE_REQUIRE_ALL"] == "1"

  /// To attach loop devices, and to mount.
  public static let isRoot = geteuid() == 0 || requiresAll
}
