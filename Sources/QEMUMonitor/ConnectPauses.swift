/// How often, and after which pauses, a connection is tried that was lost or did not greet.
///
/// vchan-socket-proxy (Xen 4.17 to 4.20) loses a client that follows another before its other end,
/// in the stubdomain, has seen the first one go: neither side notices, and nobody greets. Who tries
/// again at once meets the same race for ever.
public struct ConnectPauses: Sendable {
  /// So many have failed in a row.
  public private(set) var failures = 0

  public static let firstPauseMilliseconds: UInt64 = 50
  public static let maxFailures = 6
  /// For a greeting. QEMU greets at once; a starved stubdomain took more than 4 s.
  public static let firstGreetingMilliseconds: UInt64 = 2_000
  public static let lastGreetingMilliseconds: UInt64 = 16_000

  public init() {}

  /// How long the next one may take to greet.
  public var greetingMilliseconds: UInt64 {
    min(Self.firstGreetingMilliseconds << UInt64(failures), Self.lastGreetingMilliseconds)
  }

  /// - Returns: how long to wait before the next.
  public mutating func fail() -> UInt64 {
    defer { failures = min(failures + 1, Self.maxFailures) }
    return Self.firstPauseMilliseconds << UInt64(failures)
  }

  /// Nobody is there: it is not tried any more.
  public var isOver: Bool { failures >= Self.maxFailures }
}
