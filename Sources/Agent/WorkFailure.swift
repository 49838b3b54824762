import SystemIO
import Transfer

/// Runs `body`; an error of the system becomes one of the work.
func attempt<R: ~Copyable>(
  _ body: () throws(SystemError) -> R
) throws(WorkFailure) -> R {
  do throws(SystemError) { return try body() } catch { throw WorkFailure(ExitStatus(error)) }
}

/// Why the agent's work came to nothing.
struct WorkFailure: Error {
  let status: ExitStatus
  /// The capacity that a disk must have, if one that is larger would do.
  var neededBytes: UInt64 = 0
  /// dom0 has said something else meanwhile; nobody waits for an answer.
  var isWithdrawn = false

  init(_ status: ExitStatus) { self.status = status }

  static var withdrawn: WorkFailure {
    var failure = WorkFailure(.stubdomainFailed)
    failure.isWithdrawn = true
    return failure
  }
}
