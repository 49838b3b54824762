import CSystem

/// Makes system calls of this thread fail on purpose, for tests: the Nth, once or for good.
///
/// In every build, so that what is tested is what is shipped; nothing outside the process can
/// switch it on.
public enum Faults {
  /// From now on the call after `skipping` others fails without being made. With EINTR it is made
  /// again where this program does that.
  ///
  /// - Parameters:
  ///   - call: which are counted; nil counts all of them.
  ///   - persistently: every later one fails too.
  public static func fail(
    _ call: SystemCall?, skipping: Int, errno: Int32, persistently: Bool = false
  ) {
    stubsave_set_fault(call.map { Int32($0.rawValue) } ?? -1, skipping, errno, persistently ? 1 : 0)
  }

  /// From now on the call after `skipping` others, if it reads or writes, moves fewer bytes than it
  /// is asked to; every later one too if `persistently`.
  public static func shorten(_ call: SystemCall?, skipping: Int, persistently: Bool = false) {
    fail(call, skipping: skipping, errno: Int32(STUBSAVE_FAULT_SHORT), persistently: persistently)
  }

  /// No call fails any more.
  ///
  /// - Returns: how many calls have been counted.
  @discardableResult
  public static func clear() -> Int {
    let calls = stubsave_fault_calls()
    stubsave_set_fault(-1, 0, 0, 0)
    return calls
  }
}
