import CSystem

/// SIGHUP, SIGINT and SIGTERM, held back while something has to be put right before the end.
///
/// Meant for the main thread of a program with one thread. They are let through when this goes
/// away: one that has come in meanwhile ends the process then, as it would have before.
public struct EndingSignals: ~Copyable {
  private let descriptor: FileDescriptor

  public init() throws(SystemError) {
    let descriptor = FileDescriptor(owning: try Syscalls.endingSignalsDescriptor())
    try Syscalls.holdEndingSignals(true)
    self.descriptor = descriptor
  }

  deinit { try? Syscalls.holdEndingSignals(false) }

  /// What was to be done is done: a signal that has come in, or comes still, ends nothing any more.
  public consuming func settle() { Syscalls.ignoreEndingSignals() }

  /// To be waited for: readable once a signal has come in.
  public var number: Int32 { descriptor.number }

  /// The same of signals that may not be held back any more.
  public static func number(of signals: borrowing EndingSignals?) -> Int32? {
    switch signals {
    case .some(let signals): signals.number
    case .none: nil
    }
  }

  /// Whether a signal has come in at `number`.
  public static func hasCome(_ number: Int32) -> Bool {
    // If that cannot be found out, nothing has come that one could tell of.
    (try? Syscalls.poll(-1, events: 0, number, timeoutMilliseconds: 0).second) == true
  }
}

/// Signals that are taken as errors of the call that they belong to.
public enum SignalsAsErrors {
  /// Writing to a pipe that nobody reads becomes EPIPE; else a signal ends the process.
  public static func ofPipes() { stubsave_ignore_signal(SIGPIPE) }
}

/// Signals by which a process has ended.
public enum Signals {
  public static let badSystemCall = SIGSYS
  public static let processorTime = SIGXCPU
  public static let kill = SIGKILL
}
